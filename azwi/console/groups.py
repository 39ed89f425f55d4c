"""Groups of commands."""

import click


class Group(click.Group):
    """A group that, called without a command, prints its help and is content, as v1.6.0's are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; none at all ask for help."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)
