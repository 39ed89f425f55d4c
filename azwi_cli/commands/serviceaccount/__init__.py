"""`azwi serviceaccount`: an identity in Azure for a ServiceAccount in the cluster, made and unmade in phases."""

# ruff: noqa: PLC0415  help texts do without the phases

from collections.abc import Mapping
from typing import Any, Final

import click
from click.core import ParameterSource

from azwi_cli.azure.options import Option, with_options
from azwi_cli.commands.serviceaccount import options
from azwi_cli.commands.serviceaccount.phases import (
    ALIASES,
    APPLICATION,
    CREATE,
    DELETE,
    FEDERATED_IDENTITY,
    IDENTITY,
    ROLE_ASSIGNMENT,
    SERVICE_ACCOUNT,
)
from azwi_cli.commands.serviceaccount.templates.identity import TemplateFormat
from azwi_cli.console.groups import Group

Groups = tuple[tuple[Option, ...], ...]

_WHO: Final[Groups] = (options.ACCOUNT, options.ISSUER, options.APPLICATION, options.IDENTITY)
_END: Final[Groups] = (options.RUN, options.AZURE)
_CREATE_FLAGS: Final[Mapping[str, Groups]] = {
    APPLICATION: (options.ACCOUNT, options.ISSUER, options.APPLICATION),
    IDENTITY: (options.IDENTITY, options.LOCATION),
    SERVICE_ACCOUNT: (*_WHO, options.EXPIRATION),
    FEDERATED_IDENTITY: _WHO,
    ROLE_ASSIGNMENT: (*_WHO, options.PRINCIPAL, options.ROLE),
}
_DELETE_FLAGS: Final[Mapping[str, Groups]] = {
    ROLE_ASSIGNMENT: (options.ASSIGNMENT, *_WHO, options.PRINCIPAL, options.ROLE),
    FEDERATED_IDENTITY: _WHO,
    SERVICE_ACCOUNT: (options.ACCOUNT,),
    APPLICATION: (options.ACCOUNT, options.ISSUER, options.APPLICATION),
}


class Phases(Group):
    """The phases, each by its name and its short one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The names, in the order in which the phases run."""
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The phase of that name."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


@click.group("serviceaccount", cls=Group)
def command() -> None:
    """Give a ServiceAccount an identity in Azure, or take it away.

    The identity is an Entra application or a user-assigned managed identity. Every command can be run again: what is
    as it should be is left alone.
    """


def _verb(verb: str, text: str, groups: Groups, helps: Mapping[str, str], flags: Mapping[str, Groups]) -> None:
    """Add a verb with its flags, and its phases as commands of their own."""
    listed = ", ".join(f"{name} ({alias})" for alias, name in ALIASES.items() if name in helps)

    @command.group(verb, invoke_without_command=True, help=f"{text}\n\nPhases: {listed}.", short_help=text)
    @with_options(*groups, options.AZURE)
    def whole(**given: Any) -> None:  # noqa: ANN401  click's
        context = click.get_current_context()
        if context.invoked_subcommand is None:
            _execute(verb, given)
        elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in given):
            raise click.UsageError(f"the flags of a phase follow its name: azwi sa {verb} phase NAME FLAGS")

    phases = Phases("phase", help=f"Run one phase of {verb}.")
    whole.add_command(phases)
    for name, phase_help in helps.items():
        phases.add_command(_phase(verb, name, phase_help, flags[name]))


def _phase(verb: str, name: str, text: str, groups: Groups) -> click.Command:
    @click.command(name, help=text, short_help=text)
    @with_options(*groups, *_END)
    def phase(**given: Any) -> None:  # noqa: ANN401  click's
        _execute(verb, given, name)

    return phase


def _execute(verb: str, given: dict[str, Any], only: str = "") -> None:
    if isinstance(given["output_format"], TemplateFormat):
        from azwi_cli.commands.serviceaccount.templates.write import write

        write(given, given["output_format"])
        return
    # azure-core is half a second that helptexts and completion do without.
    from azwi_cli.commands.serviceaccount.execute import execute

    execute(verb, given, only)


_verb(
    "create",
    "Create an identity for a ServiceAccount, or complete what is there.",
    (
        *_WHO,
        options.LOCATION,
        options.EXPIRATION,
        options.PRINCIPAL,
        options.ROLE,
        options.SKIP,
        options.CREATE_RUN,
    ),
    CREATE,
    _CREATE_FLAGS,
)
_verb(
    "delete",
    "Delete a ServiceAccount and its identity; a managed identity itself stays.",
    (*_WHO, options.PRINCIPAL, options.ROLE, options.ASSIGNMENT, options.SKIP, options.RUN),
    DELETE,
    _DELETE_FLAGS,
)
