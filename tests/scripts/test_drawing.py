"""The manual's drawings."""

import re
from pathlib import Path

import pytest

from scripts.drawing import plot
from scripts.write_diagram import DOCS, drawing
from scripts.write_plots import column

PICTURES = sorted(
    {*(DOCS / "concepts").glob("*.svg"), *DOCS.rglob("benchmark-*.svg"), DOCS / "operate" / "dashboard.svg"}
)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda file: file.name)
def test_pictures(picture: Path) -> None:
    """A picture has a title, follows the reader's dark mode and loads nothing."""
    text = picture.read_text()
    assert re.search("<title>.+</title>", text)
    assert "prefers-color-scheme:dark" in text
    assert re.findall("https?:[^\"']+", text) == ["http://www.w3.org/2000/svg"]


def test_labels_stay_inside() -> None:
    """A long label of a sequence at its edge moves inwards."""
    source = "# sequence: t\na | A |\nb | B |\nc | C |\na > b | a label that is far longer than the way from a to b\n"
    (place,) = re.findall(r'<text class="label" x="([\d.]+)"', drawing(source))
    assert float(place) > 12 + 160 / 2 + 176 / 2


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0271, "s", "27.1 ms"),
        (7776000, "s", "90 days"),
        (77.7, "ops", "77.7 /s"),
        (80100000, "bytes", "76.4 MiB"),
        (0.113, "percentunit", "11.3 %"),
        (2, "short", "2"),
    ],
)
def test_units(value: float, unit: str, text: str) -> None:
    """A value is shown with a unit that fits its size."""
    assert plot.shown(value, unit) == text


def test_gaps() -> None:
    """Where there is no value, a line ends and another one begins."""
    series = [plot.Series("p99", [1, 2, None, 3, 4])]
    assert plot.timeseries(plot.Frame(0, 0, 400, 200), "t", "s", series).count('class="line a" d="M') == 3


def test_column() -> None:
    """Columns of a table are read by their names, with the name of each row."""
    rows = column("develop/benchmarks.md", "## Next to v1.6.0", ("v1.6.0: CPU µs", "here: CPU µs"))
    assert [name for name, _ in rows] == ["small", "medium", "large", "proxy"]
    assert all(len(values) == 2 for _, values in rows)
