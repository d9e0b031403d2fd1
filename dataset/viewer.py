"""Animations as one HTML file: skeletons, markers and force arrows that a browser plays, turns and scrubs through.

Nothing outside the file is needed. Positions are packed as 16 bit integers (1 mm steps), so a minute of motion takes
about a megabyte.

Axis legend: T frames, N = 24 bodies, M markers.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset import atomic, figure_style
from dataset.schema import FRAME_RATE
from dataset.skeleton import BODY_NAMES, PARENTS

TEMPLATE = Path(__file__).with_name("viewer.html")
COLOURS = {
    "left": figure_style.LEFT,
    "right": figure_style.RIGHT,
    "other": figure_style.OTHER,
    "measured": figure_style.MEASURED,
}
"""Meaning -> colour of arrows and limbs, as in every figure."""
MISSING = -32768
"""Code of a missing coordinate in packed arrays."""
REACH = 32.0
"""Farthest coordinate from the first panel's start that 16 bits of millimetres hold [m]."""


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """A force over time."""

    point: np.ndarray
    """Where it acts [m], world, shape (T, 3); NaN hides it."""
    force: np.ndarray
    """Force [N], world, shape (T, 3)."""
    colour: str = "other"
    """Key of `COLOURS`."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure of an animation."""

    title: str
    """What it shows."""
    joint_pos: np.ndarray | None = None
    """Joint centres [m], world (z up), shape (T, N, 3); None for no skeleton, NaN hides."""
    markers: np.ndarray | None = None
    """Marker positions [m], world, shape (T, M, 3); NaN hides."""
    arrows: tuple[Arrow, ...] = ()
    """Forces."""
    marks: np.ndarray | None = None
    """Colour of each frame's quality as an index into `mark_colours`, shape (T,); None for none."""
    mark_colours: tuple[str, ...] = ()
    """Colours of `marks`."""

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        for values in (self.joint_pos, self.markers):
            if values is not None:
                return len(values)
        raise ValueError(f"panel {self.title!r}: expected joint_pos or markers, found neither")


def write_view(path: str | Path, panels: Sequence[Panel], *, rate: float = FRAME_RATE, title: str = "") -> Path:
    """Write an animation (`view_page`) to an HTML file, atomically."""
    atomic.write_text(path, view_page(panels, rate=rate, title=title))
    return Path(path)


def view_page(panels: Sequence[Panel], *, rate: float = FRAME_RATE, title: str = "") -> str:
    """An animation of panels side by side on one clock, as the text of an HTML page.

    Args:
        panels: Figures; a shorter one stays at its last frame.
        rate: Frames per second [Hz].
        title: Heading; the first panel's if empty.

    Raises:
        ValueError: no panel, shapes that do not agree, or positions more than 32 m from where the first panel starts.
    """
    if not panels:
        raise ValueError("panels: expected at least one, found none")
    start = _start(panels[0])
    data = {
        "rate": rate,
        "frames": max(panel.num_frames for panel in panels),
        "start": start.tolist(),
        "parents": list(PARENTS),
        "colours": COLOURS,
        "side": ["left" if name[:2] == "L_" else "right" if name[:2] == "R_" else "other" for name in BODY_NAMES],
        "panels": [_packed(panel, start) for panel in panels],
    }
    heading = html.escape(title or panels[0].title)
    # "</" would end the script element that holds the data.
    packed = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    return TEMPLATE.read_text(encoding="utf-8").replace("{{title}}", heading).replace("{{data}}", packed)


def _start(panel: Panel) -> np.ndarray:
    """First known position of a panel on the floor, (3,)."""
    for values in (panel.joint_pos, panel.markers):
        if values is not None:
            known = values.reshape(-1, 3)
            known = known[np.isfinite(known).all(axis=1)]
            if len(known):
                return np.array([known[0, 0], known[0, 1], 0.0])
    return np.zeros(3)


def _packed(panel: Panel, start: np.ndarray) -> dict[str, Any]:
    frames = panel.num_frames
    packed: dict[str, Any] = {"title": panel.title, "frames": frames}
    for name, values in (("joints", panel.joint_pos), ("markers", panel.markers)):
        if values is None:
            continue
        if values.ndim != 3 or values.shape[0] != frames or values.shape[2] != 3:
            raise ValueError(f"panel {panel.title!r}, {name}: expected shape ({frames}, any, 3), got {values.shape}")
        packed[name] = {"count": values.shape[1], "data": _encode(values, start, panel.title)}
    packed["arrows"] = []
    for arrow in panel.arrows:
        if arrow.point.shape != (frames, 3) or arrow.force.shape != (frames, 3):
            raise ValueError(
                f"panel {panel.title!r}, arrow: expected shapes ({frames}, 3), got {arrow.point.shape} and {arrow.force.shape}"
            )
        force = np.where(np.isfinite(arrow.point).all(axis=1, keepdims=True), arrow.force, np.nan)
        packed["arrows"].append(
            {
                "colour": arrow.colour,
                "point": _encode(arrow.point, start, panel.title),
                "force": _encode(force * 1e-3, np.zeros(3), panel.title),  # 1 N steps
            }
        )
    if panel.marks is not None:
        packed["marks"] = [panel.mark_colours[int(mark)] for mark in panel.marks]
    return packed


def _encode(values: np.ndarray, start: np.ndarray, title: str) -> str:
    """Base64 of little-endian 16 bit thousandths of (values − start); `MISSING` for NaN."""
    moved = values - start
    known = np.isfinite(moved)
    far = float(np.abs(moved[known]).max(initial=0.0))
    if far > REACH:
        raise ValueError(
            f"panel {title!r}: expected values within {REACH:g} (m or kN) of the start, found {far:.1f}; show a shorter piece"
        )
    code = np.where(known, np.rint(np.where(known, moved, 0.0) * 1000.0), MISSING).astype("<i2")
    return base64.b64encode(code.tobytes()).decode("ascii")
