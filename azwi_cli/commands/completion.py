"""`azwi completion`: the code that completes azwi's commands, which click makes."""

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the code that completes azwi's commands in SHELL: bash, zsh or fish.

    \b
    bash   azwi completion bash > ~/.local/share/bash-completion/completions/azwi
    zsh    azwi completion zsh > "${fpath[1]}/_azwi"
    fish   azwi completion fish > ~/.config/fish/completions/azwi.fish
    """  # noqa: D301  click reads the mark as: do not wrap
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"click does not know {shell}")
    click.echo(found(context.find_root().command, {}, "azwi", "_AZWI_COMPLETE").source())
