"""Groups of commands."""

import click


class Group(click.Group):
    """A group that prints its help and exits with 0 when called without a command, as v1.6.0's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; without any, print the help."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)
