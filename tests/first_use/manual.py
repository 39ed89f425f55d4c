"""The commands of the page that a stranger follows."""

import re
from pathlib import Path
from typing import Final

from azure_workload_identity import __version__

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "install" / "from-a-release.md"
REGISTRY: Final = "registry.example.com"
_BLOCK: Final = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps() -> dict[str, str]:
    """Return the commands below each heading of the page, for this version."""
    sections = PAGE.read_text().replace("0.1.0", __version__).split("\n## ")[1:]
    found = {section.partition("\n")[0]: _BLOCK.findall(section) for section in sections}
    return {heading: blocks[0] for heading, blocks in found.items() if blocks}
