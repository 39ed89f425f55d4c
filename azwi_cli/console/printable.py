"""Text from a cluster or from Azure, made safe to print and fitted into a terminal."""

import textwrap


def printable(text: str) -> str:
    """`text` without what a terminal would act on; names in a cluster come from others."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def wrapped(text: str, columns: int, indent: str = "") -> list[str]:
    """`text` in lines of at most so many columns (0: in one), all but the first with an indent.

    Words stay whole, however long they are: names and commands can be copied.
    """
    if not columns:
        return [text]
    lines = textwrap.wrap(
        text, max(columns, 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return lines or [""]
