"""`azwi explain`: what a code means, its most likely causes, and the fix; without a network."""

# ruff: noqa: PLC0415  help texts do without the explanations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import click

from azure_workload_identity.types import JsonObject
from azwi_cli.console import output, terminal
from azwi_cli.console.errors import UsageError
from azwi_cli.console.output import OutputFormat

if TYPE_CHECKING:
    from azwi_cli.explanations.explanation import Explanation

STDIN: Final = "-"
WIDTH: Final = 100


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from azwi_cli.explanations import catalogue

    return [code for code in catalogue.codes() if code.lower().startswith(incomplete.lower())]


@click.command("explain")
@click.argument("code", required=False, shell_complete=_complete)
@output.option
def command(code: str | None, output_format: OutputFormat) -> None:
    """Explain CODE: what it means, its most likely causes, and the fix. Needs no network.

    CODE is an error of Microsoft Entra, a reason or a warning of the webhook, a finding of azwi doctor, or a whole
    message that has one; - reads the message from stdin. Without CODE, all codes are listed.

    \b
    azwi explain AADSTS700213
    azwi explain no-client-id
    kubectl -n shop logs deploy/web | azwi explain -
    """  # noqa: D301  click reads the mark as: do not wrap
    from azwi_cli.explanations import catalogue

    if code is None:
        listed = catalogue.everything()
        output.write(_document(listed), output_format, lambda: _list(listed))
        return
    text = sys.stdin.read(catalogue.MAX_TEXT) if code == STDIN else code[: catalogue.MAX_TEXT]
    found = catalogue.find(text)
    if not found:
        raise _unknown(text, from_stdin=code == STDIN)
    output.write(_document(found), output_format, lambda: "\n\n".join("\n".join(_lines(one)) for one in found))


def _unknown(text: str, *, from_stdin: bool) -> UsageError:
    from azwi_cli.explanations import catalogue

    if from_stdin:
        return UsageError("no known code is in the text on stdin", "azwi explain lists all codes")
    near = catalogue.similar(text)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"{text[:80]!a} is not a known code",
        f"{hint}azwi explain lists all codes; https://login.microsoftonline.com/error has all of Entra's",
    )


def _document(found: Iterable["Explanation"]) -> JsonObject:
    from azwi_cli.explanations.explanation import plain

    return {
        "explanations": [
            {
                "code": one.code,
                "source": str(one.source),
                "meaning": plain(one.meaning),
                "note": one.note,
                "causes": [plain(text) for text in one.causes],
                "fix": [plain(text) for text in one.fix],
                "link": one.page,
            }
            for one in found
        ]
    }


def _list(found: Iterable["Explanation"]) -> str:
    from azwi_cli.explanations.explanation import plain

    return output.table(["code", "from", "means"], [[one.code, one.source, plain(one.meaning)] for one in found])


def _lines(one: "Explanation") -> Iterator[str]:
    from azwi_cli.explanations.explanation import HEADINGS, plain

    heading = f"{one.code} ({', '.join(filter(None, (HEADINGS[one.source], one.note)))})"
    yield click.style(heading, bold=True) if terminal.coloured(sys.stdout) else heading
    yield from _wrapped(plain(one.meaning), "  ", "  ")
    for title, texts in (("Most likely causes", one.causes), ("Fix", one.fix)):
        if texts:
            yield f"{title}:"
        for number, text in enumerate(texts, 1):
            yield from _wrapped(plain(text), f"  {number}. ", "     ")
    yield f"See {one.page}"


def _wrapped(text: str, first: str, more: str) -> list[str]:
    import textwrap

    width = terminal.width(sys.stdout) or WIDTH
    return textwrap.wrap(
        text, max(width, 40), initial_indent=first, subsequent_indent=more,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
