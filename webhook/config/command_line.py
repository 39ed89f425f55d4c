"""Reads settings from a command line and an environment, and says in a sentence what is wrong with one."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from azure_workload_identity import version
from azure_workload_identity.go_flags import FlagParser
from webhook.admission.reasons import quoted
from webhook.config import faults
from webhook.config.settings import SOURCES, Settings


class SettingsError(Exception):
    """The settings cannot be used; the message has one sentence a setting, with what to do."""


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings from a command line (without the program's name) and an environment.

    An empty variable is not set, as in v1.6.0; a flag overrides a variable.

    Raises:
        SettingsError: with a sentence for each setting that cannot be used.
        SystemExit: 0 after `--help`.
    """
    given = {name: environ[source.env] for name, source in SOURCES.items() if environ.get(source.env)}
    given |= _flags(arguments)
    given.setdefault("tenant_id", "")
    return checked(given)


def checked(given: Mapping[str, object]) -> Settings:
    """Validate values by the field names of `Settings`.

    Raises:
        SettingsError: with a sentence for each setting that cannot be used.
    """
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError("\n".join(_sentences(error))) from None


def _sentences(error: ValidationError) -> Iterator[str]:
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        message = faults.sentence(fault)
        if not name:
            yield message
        elif fault["input"] == "":
            yield f"{SOURCES[name].name} is not set: it {message}"
        else:
            yield f"{SOURCES[name].name} {_shown(fault['input'])} {message}"


def _shown(value: object) -> str:
    # The user part of a URL may be a secret.
    return "'...'" if "@" in str(value) else quoted(value)


class _Version(argparse.Action):
    """Prints one line for programs to read; argparse's own action would wrap it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(version.json_line())  # noqa: T201  the option's output
        parser.exit()


def _flags(arguments: Sequence[str]) -> dict[str, Any]:
    """The values of the flags on the command line."""
    parser = FlagParser(
        "azwi-webhook",
        SettingsError,
        description="Azure Workload Identity admission webhook.",
        epilog="environment variables: "
        + "; ".join(f"{source.env} ({source.help})" for source in SOURCES.values() if source.env),
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="print version information and exit",
    )
    for name, source in SOURCES.items():
        if not source.flag:
            continue
        flag, default = f"--{source.flag}", Settings.model_fields[name].default
        if isinstance(default, bool):
            parser.add_argument(flag, dest=name, nargs="?", const="true", metavar="BOOL", help=source.help)
        else:
            parser.add_argument(flag, dest=name, metavar=source.flag.rsplit("-", 1)[-1].upper(), help=source.help)
    return vars(parser.parse(arguments))
