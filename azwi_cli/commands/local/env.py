"""`azwi env`: the variables of a pod's identity, for a shell, a container or an editor."""

import json
import os
import shlex
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import click

from azure_workload_identity.types import JsonObject
from azwi_cli.azure.options import target
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.commands.local import options
from azwi_cli.commands.local.identity import PodIdentity, resolve
from azwi_cli.commands.local.process import Signals
from azwi_cli.commands.local.run import ENV_RUNTIME
from azwi_cli.commands.local.token import Renewal, TokenFile, check_allowed, readable_time, request_token
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError

# Below the user's runtime directory: one for azwi, in it for each cluster, namespace and account.
_DIRECTORY: Final = "azwi"
_OWN_DIRECTORIES: Final = 4


class Format(StrEnum):
    """Who reads the variables."""

    SH = "sh"
    FISH = "fish"
    DOTENV = "dotenv"
    JSON = "json"


@click.command("env")
@options.identity_options
@click.option(
    "--token-file",
    default=None,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the token is written; default: a file of this user for each ServiceAccount.",
)
@click.option(
    "--mounted-at", default="", metavar="PATH", help="Where the program sees that file, such as in a container."
)
@click.option(
    "--format",
    "shown_as",
    type=click.Choice(Format, case_sensitive=False),
    default=Format.SH,
    show_default=str(Format.SH),
    help="Who reads it: bash and zsh (sh), fish, docker (dotenv), a program (json).",
)
@click.option("--renew", is_flag=True, help="Stay, renew the token until Ctrl-C, and remove it then.")
@click.option("--remove", is_flag=True, help="Remove the token, and print what takes the variables away.")
@click.option("--dry-run", is_flag=True, help="Create and write no token; print what would be set.")
def command(**given: Any) -> None:  # noqa: ANN401  click's
    """Print the variables of the identity that the pods of a ServiceAccount get, and write its token to a file.

    The token is renewed by running the command again, or while it stays with --renew. You need permission to create
    tokens of the ServiceAccount.

    \b
    eval "$(azwi env -n shop --service-account web)"
    azwi env -n shop --service-account web --format dotenv > pod.env
    """  # noqa: D301  click reads the mark as: do not wrap
    if given["remove"] and given["renew"]:
        raise UsageError("--remove cannot go with --renew", "run one, then the other")
    with Signals() as signals, ExitStack() as made, closing(signals):
        cluster = Cluster.connect(ClusterTarget(given["kubeconfig"], given["context"], given["namespace"]))
        path = given["token_file"] or _default_file(cluster, given["service_account"])
        if given["remove"]:
            _remove(path, given["shown_as"], dry_run=given["dry_run"])
            return
        identity = resolve(cluster, given["service_account"], given, target(given).cloud(os.environ))
        if given["dry_run"]:
            check_allowed(cluster, identity)
            expires_at = ""
        else:
            expires_at = _start(made, cluster, identity, path, given)
        variables = identity.variables(given["mounted_at"] or str(path))
        _, left_out = options.environment(os.environ, variables)
        click.echo(WRITERS[given["shown_as"]](variables, left_out, expires_at))
        if given["renew"] and not given["dry_run"]:
            threading.Event().wait()  # a signal ends it


def _start(made: ExitStack, cluster: Cluster, identity: PodIdentity, path: Path, given: Mapping[str, Any]) -> str:
    """Write the token; it stays there, except with --renew. Returns when it ends."""
    renewal = Renewal(
        lambda: request_token(cluster, identity), TokenFile(path), given["renew_every"], output.warn
    )  # fmt: skip
    if not given["renew"]:
        return renewal.write_once().expires_at
    made.callback(renewal.close)
    return renewal.start().expires_at


def _remove(path: Path, shown_as: Format, *, dry_run: bool) -> None:
    if not dry_run:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # a directory that is not empty, or not there
            for directory in list(path.parents)[:_OWN_DIRECTORIES]:
                if _DIRECTORY in directory.parts:
                    directory.rmdir()
    identity = PodIdentity("", "", "", "", "", "")
    click.echo(WRITERS[shown_as]({}, list(identity.variables("")), ""))


def _default_file(cluster: Cluster, service_account: str) -> Path:
    """A file for each ServiceAccount of each cluster, where other users of this machine cannot look."""
    base = os.environ.get(ENV_RUNTIME) or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    host = sha256(cluster.host.encode()).hexdigest()[:8]
    return Path(base) / _DIRECTORY / host / cluster.namespace / service_account / "token"


def _comment(expires_at: str) -> list[str]:
    return [f"# the token ends at {readable_time(expires_at)}"] if expires_at else []


def _sh(variables: Mapping[str, str], left_out: list[str], expires_at: str) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, *(f"unset {name}" for name in left_out), *_comment(expires_at)])


def _fish(variables: Mapping[str, str], left_out: list[str], expires_at: str) -> str:
    lines = [f"set -gx {name} {_fish_quoted(value)}" for name, value in variables.items()]
    return "\n".join([*lines, *(f"set -e {name}" for name in left_out), *_comment(expires_at)])


def _fish_quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dotenv(variables: Mapping[str, str], _: list[str], expires_at: str) -> str:
    """As `docker run --env-file` reads it: no quotes, and no line ends in a value."""
    for name, value in variables.items():
        if not value.isprintable():
            raise CommandError(f"{name} cannot be written in this format", "use --format json")
    return "\n".join([*(f"{name}={value}" for name, value in variables.items()), *_comment(expires_at)])


def _json(variables: Mapping[str, str], left_out: list[str], expires_at: str) -> str:
    document: JsonObject = {"variables": dict(variables), "leftOut": left_out, "expiresAt": expires_at}
    return json.dumps(document, indent=2)


Writer = Callable[[Mapping[str, str], list[str], str], str]
WRITERS: Final[Mapping[Format, Writer]] = {
    Format.SH: _sh,
    Format.FISH: _fish,
    Format.DOTENV: _dotenv,
    Format.JSON: _json,
}
