"""Text from a cluster or from Azure, made safe to print."""


def printable(text: str) -> str:
    """`text` without what a terminal would act on; names in a cluster come from others."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
