"""A mutated manifest as YAML, with the lines that were added marked."""

from collections.abc import Iterator
from difflib import SequenceMatcher

from azure_workload_identity.kube_yaml import writer

ADDED = "+ "
KEPT = "  "
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"


def marked_lines(before: object, after: object) -> Iterator[tuple[str, str]]:
    """The lines of `after` as YAML, each with ADDED or KEPT; `after` must have all of `before`."""
    old, new = _lines(before), _lines(after)
    for tag, _, _, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for line in new[start:end]:
            yield (KEPT if tag == "equal" else ADDED), line


def rendered(before: object, after: object, *, colour: bool) -> str:
    """`marked_lines` as text for a person."""
    return "\n".join(
        f"{GREEN}{mark}{line}{PLAIN}" if colour and mark == ADDED else f"{mark}{line}"
        for mark, line in marked_lines(before, after)
    )


def _lines(manifest: object) -> list[str]:
    return writer.write(manifest).splitlines()
