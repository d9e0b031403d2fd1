"""The look of every figure: colour-blind safe colours, units on axes, the same meaning for the same colour everywhere.

    with figure_style.style():
        figure, (top, bottom) = figure_style.new_figure(2, 1)
        top.plot(time, force, color=figure_style.LEFT)
        figure_style.label(top, x=("Time", "s"), y=("Vertical force", "N"))
        figure_style.save(figure, "grf.png")

Figures are made without pyplot, so nothing needs closing and no display is asked for.

Source of the palette: Okabe and Ito 2008, "Color Universal Design".
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dataset import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK: Final = "#000000"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
GREEN: Final = "#009E73"
YELLOW: Final = "#F0E442"
BLUE: Final = "#0072B2"
VERMILLION: Final = "#D55E00"
PURPLE: Final = "#CC79A7"
GREY: Final = "#8C8C8C"

CYCLE: Final = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, BLACK)
"""Order of colours without a meaning of their own; yellow is left out of lines, for it vanishes on white."""

LEFT: Final = BLUE
"""Left side of the body."""
RIGHT: Final = VERMILLION
"""Right side of the body."""
OTHER: Final = GREEN
"""Everything that is neither left nor right, e.g. the rest of the body."""
MEASURED: Final = BLACK
"""What an instrument measured, drawn dashed beside an estimate."""
BASELINE: Final = GREY
"""Baselines and reference lines."""
SEQUENTIAL: Final = "cividis"
"""Colour map for magnitudes."""
DIVERGING: Final = "PuOr"
"""Colour map for signed values, symmetric about zero."""

_RC: Final[dict[str, Any]] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.dpi": 120,
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "savefig.dpi": 150,
    "svg.hashsalt": "imdylab",  # element ids do not change between runs
}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Settings of all figures made and drawn inside the block."""
    import matplotlib
    from cycler import cycler

    settings: Any = {**_RC, "axes.prop_cycle": cycler(color=CYCLE)}
    with matplotlib.rc_context(settings):
        yield


def new_figure(rows: int = 1, columns: int = 1, *, width: float = 7.0, height: float | None = None, **grid: Any) -> Any:
    """Figure and axes as `Figure.subplots` gives them.

    Args:
        rows: Panels from top to bottom.
        columns: Panels from left to right.
        width: Width [inch].
        height: Height [inch]; 1.9 a row plus 0.6 if None.
        grid: Passed to `Figure.subplots`, e.g. `sharex=True`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height or 0.6 + 1.9 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, **grid)


def label(axes: Axes, *, x: tuple[str, str] | None = None, y: tuple[str, str] | None = None, title: str = "") -> None:
    """Name the axes as (quantity, unit); a unit of "" is for counts and shares."""
    for setter, name in ((axes.set_xlabel, x), (axes.set_ylabel, y)):
        if name is not None:
            setter(f"{name[0]} [{name[1]}]" if name[1] else name[0])
    if title:
        axes.set_title(title)


def render(figure: Figure, file_format: str = "svg") -> bytes:
    """The figure as a file's bytes, without a date: the same data give the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, metadata={"Date": None} if file_format == "svg" else None)
    return buffer.getvalue()


def inline(figure: Figure, text: str) -> str:
    """The figure as an SVG element for an HTML page, with a text alternative; element names are made unique by it."""
    svg = render(figure, "svg").decode("utf-8")
    svg = svg[svg.index("<svg") :]
    mark = re.sub(r"\W+", "", text)
    svg = re.sub(r'(\bid="|"#|url\(#)', lambda match: match.group(0) + mark, svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{text}"', 1)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically; the suffix (.png, .svg, .pdf) is the format."""
    path = Path(path)
    atomic.write_bytes(path, render(figure, path.suffix.removeprefix(".")))
    return path
