"""The changelog's section of one version."""

import re


def excerpt(changelog: str, version: str) -> str:
    """Return the section of a version without its heading, or what is unreleased while the version has none.

    Raises:
        ValueError: The changelog has neither.
    """
    sections = re.split(r"^## \[([^\]]+)\].*\n", changelog, flags=re.MULTILINE)
    found = dict(zip(sections[1::2], sections[2::2], strict=True))
    text = found.get(version) or found.get("Unreleased")
    if not text or not text.strip():
        raise ValueError(f"CHANGELOG.md has no section of {version}: add the heading ## [{version}] and what changed")
    return text.strip() + "\n"
