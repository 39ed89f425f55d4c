"""The program `azwi`: its table of commands, and its exit.

A command's module is loaded when that command runs, so `azwi --help` loads nothing but click.
"""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from azwi_cli.console.errors import CommandError, Interrupted, Status, UsageError
from azwi_cli.console.groups import Group

DEBUG: Final = "--debug"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command: the module that has it as `command`, what it is for, and its short name if any."""

    module: str
    help: str
    alias: str = ""


COMMANDS: Final = {
    "doctor": CommandEntry("azwi_cli.commands.doctor", "Find out why pods get no token, and how to fix it."),
    "env": CommandEntry(
        "azwi_cli.commands.local.env", "Print the variables of a pod's identity for a shell or a container."
    ),
    "explain": CommandEntry(
        "azwi_cli.commands.explain", "Explain an error, a reason, a warning or a finding by its code."
    ),
    "jwks": CommandEntry("azwi_cli.commands.jwks", "Print the JSON Web Key Set of a self-managed issuer."),
    "migrate": CommandEntry("azwi_cli.commands.migrate", "Migrate from azure-workload-identity v1.6.0."),
    "mutate": CommandEntry(
        "azwi_cli.commands.mutate", "Show what the webhook would make of manifests, without a cluster."
    ),
    "oidc": CommandEntry(
        "azwi_cli.commands.oidc", "Write the discovery document and the JWKS of a self-managed issuer."
    ),
    "policy": CommandEntry(
        "azwi_cli.commands.policy", "Print the admission policies that inject identities without a webhook."
    ),
    "podidentity": CommandEntry("azwi_cli.commands.podidentity", "Migrate from aad-pod-identity.", "pi"),
    "run": CommandEntry("azwi_cli.commands.local.run", "Run a command on this machine with a pod's identity."),
    "completion": CommandEntry(
        "azwi_cli.commands.completion", "Print the code that completes azwi's commands in a shell."
    ),
    "serviceaccount": CommandEntry(
        "azwi_cli.commands.serviceaccount", "Give a ServiceAccount an identity in Azure, or take it away.", "sa"
    ),
    "sync": CommandEntry(
        "azwi_cli.commands.sync.command", "Make federated credentials what ServiceAccounts in Git or a cluster say."
    ),
    "token": CommandEntry("azwi_cli.commands.token.command", "Try the exchange of a ServiceAccount's token."),
    "version": CommandEntry("azwi_cli.commands.version", "Print azwi's version."),
}


class Program(Group):
    """A group whose commands are those of a table, loaded when they are needed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; `help COMMAND` means `COMMAND --help`, and --debug may be anywhere, as in v1.6.0."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, debug_first(args))

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The names, in the order in which help lists them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        """The command of that name or alias."""
        entry = COMMANDS.get(_full_name(cmd_name))
        if entry is None:
            return None
        command: click.Command = import_module(entry.module).command
        command.short_help = entry.help
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest similar names."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            aliases = [entry.alias for entry in COMMANDS.values() if entry.alias]
            raise click.NoSuchCommand(name, possibilities=[*COMMANDS, *aliases], ctx=ctx)
        _, command, rest = super().resolve_command(ctx, args)
        return _full_name(name), command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        """Write the table into the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(_shown(name, entry), entry.help) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name from the table."""
        return [
            *(CompletionItem(name, help=entry.help) for name, entry in COMMANDS.items() if name.startswith(incomplete)),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401  click's
    ) -> click.Context:
        """Read the arguments before the command; what is wrong with them looks as every error does."""
        with _own_usage_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; Ctrl-C ends it without a traceback."""
        try:
            with _own_usage_errors():
                return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort) as stop:
            raise Interrupted from stop


@contextmanager
def _own_usage_errors() -> Iterator[None]:
    """Raise click's errors as this program's."""
    try:
        yield
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "azwi"
        raise UsageError(error.format_message().rstrip("."), f"{command} --help shows what it takes") from error


def debug_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with --debug before the others, except those after --, which belong to another program."""
    own = list(arguments)
    foreign = own[own.index("--") :] if "--" in own else []
    own = own[: len(own) - len(foreign)]
    return [*([DEBUG] if DEBUG in own else []), *(argument for argument in own if argument != DEBUG), *foreign]


def _full_name(name: str) -> str:
    return next((full for full, entry in COMMANDS.items() if entry.alias == name), name)


def _shown(name: str, entry: CommandEntry) -> str:
    return f"{name}, {entry.alias}" if entry.alias else name


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  click's signature
    if wanted and not context.resilient_parsing:
        import_module(COMMANDS["version"].module).command.main([], standalone_mode=False)
        context.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(DEBUG, is_flag=True, help="Log the requests to the cluster and to Azure; show tracebacks.")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version, as azwi version does.",
)
def program(*, debug: bool) -> None:
    """Set up, check and troubleshoot Azure Workload Identity.

    Exit status: 0 done, 1 refused or failed, 2 wrong usage.
    """
    if debug:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
        logging.getLogger("azwi_cli").setLevel(logging.DEBUG)
    else:
        # Libraries log warnings about problems that azwi's own error explains better.
        logging.getLogger().addHandler(logging.NullHandler())


def run() -> None:
    """The console script."""
    try:
        # --debug counts wherever it stands, as in v1.6.0.
        program.main(debug_first(sys.argv[1:]), prog_name="azwi")
    except KeyboardInterrupt:
        sys.exit(Status.INTERRUPTED)
    except OSError as error:
        _end_without_output(error)
    except Exception as fault:
        if DEBUG in debug_first(sys.argv[1:])[:1]:
            raise
        CommandError(
            f"internal error: {type(fault).__name__}",
            "run it again as azwi --debug ... for a traceback, and report it",
        ).show()
        sys.exit(Status.FAILED)


def _end_without_output(error: OSError) -> None:
    """Say why the output could not be written, such as a full disk; what is buffered must not fail once more."""
    with suppress(OSError):
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  stays open until the process ends
        CommandError(f"the output cannot be written: {error.strerror or error}").show()
    sys.exit(Status.FAILED)


if __name__ == "__main__":
    run()
