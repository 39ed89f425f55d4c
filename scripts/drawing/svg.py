"""What all drawings share: the frame, the colours of both modes, boxes and arrows."""

from html import escape
from typing import Final

LIGHT: Final = {
    "back": "#fff",
    "text": "#1f2328",
    "quiet": "#57606a",
    "box": "#f6f8fa",
    "accent": "#0969da",
    "a": "#0969da",
    "b": "#bc4c00",
    "c": "#1a7f37",
    "d": "#8250df",
    "e": "#cf222e",
}
DARK: Final = {
    "back": "#0d1117",
    "text": "#e6edf3",
    "quiet": "#9198a1",
    "box": "#161b22",
    "accent": "#4493f8",
    "a": "#4493f8",
    "b": "#f0883e",
    "c": "#3fb950",
    "d": "#ab7df8",
    "e": "#f85149",
}
SERIES: Final = "abcde"
TIP: Final = (
    '<defs><marker id="tip" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" class="tip"/></marker></defs>\n'
)


def _colours(of: dict[str, str]) -> str:
    series = "".join(f".{name}{{stroke:{of[name]}}}.{name}f{{fill:{of[name]}}}" for name in SERIES)
    return (
        f".back{{fill:{of['back']}}}text{{fill:{of['text']}}}.quiet{{fill:{of['quiet']}}}"
        f".box{{fill:{of['box']};stroke:{of['quiet']}}}.rule{{stroke:{of['quiet']}}}"
        f".arrow{{stroke:{of['accent']}}}.tip,.label{{fill:{of['accent']}}}.label{{stroke:{of['back']}}}{series}"
    )


STYLE: Final = (
    "text{font:13px sans-serif}.title{font-weight:bold}.small{font-size:12px}.box{rx:6}"
    ".label{font-size:12px;paint-order:stroke;stroke-width:4}path{fill:none}.tip{stroke:none}"
    f".arrow,.line{{stroke-width:1.5}}{_colours(LIGHT)}@media(prefers-color-scheme:dark){{{_colours(DARK)}}}"
)


def document(width: int, height: int, title: str, *parts: str) -> str:
    """Return a whole SVG; `title` is what a screen reader reads."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{TIP}'
        f'<rect width="{width}" height="{height}" class="back"/>\n' + "".join(parts) + "</svg>\n"
    )


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "middle") -> str:
    """Return a line of text; `kind` is its classes."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(content)}</text>\n'


def box(x: float, y: float, width: float, height: float) -> str:
    """Return a box."""
    return f'<rect class="box" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>\n'


def line(points: list[tuple[float, float]], kind: str) -> str:
    """Return a line through points; `kind` is its classes."""
    joined = " ".join(f"{x:.4g} {y:.4g}" for x, y in points)
    return f'<path class="{kind}" d="M{joined}"/>\n'


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Return an arrow."""
    joined = " ".join(f"{x:g} {y:g}" for x, y in (start, end))
    return f'<path class="arrow" marker-end="url(#tip)" d="M{joined}"/>\n'
