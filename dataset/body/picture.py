"""Picture of the default body: skin, joints, collision shapes, markers, and the people it covers.

`python -m dataset.body.picture --out docs/figures/body.png`
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dataset import figure_style
from dataset.body.default import make_body
from dataset.body.marker_sets import marker_points, marker_set
from dataset.body.model import BodyModel, CollisionShape
from dataset.command_line import run_command
from dataset.schema import Subject
from dataset.skeleton import BODY_NAMES, PARENTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRONT: Final[np.ndarray] = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
"""View from the front: rows are the picture's right, its up, and the direction towards the viewer, in body axes."""
SIDE: Final[np.ndarray] = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""View of the right side, facing right."""
BACK: Final[np.ndarray] = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])

PEOPLE: Final[tuple[Subject, ...]] = (
    Subject(name="1.10 m, 19 kg", height=1.1, mass=19.0),
    Subject(name="1.35 m, 31 kg", height=1.35, mass=31.0),
    Subject(name="F 1.63 m, 58 kg", sex=1.0, height=1.63, mass=58.0),
    Subject(name="M 1.80 m, 78 kg", sex=0.0, height=1.80, mass=78.0),
    Subject(name="M 2.00 m, 110 kg", sex=0.0, height=2.0, mass=110.0),
)


@dataclass(frozen=True, kw_only=True)
class PictureConfig:
    """What to draw and where."""

    out: Path
    """Image to write (.png or .svg)."""


def draw_skin(axes: Axes, body: BodyModel, view: np.ndarray, shift: float = 0.0, strength: float = 1.0) -> None:
    """Shaded skin, orthographic; strength 0 is white."""
    from matplotlib.collections import PolyCollection

    corner = body.vertices[body.faces] @ view.T
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=1)
    facing = np.flatnonzero((normal[:, 2] > 0.0) & (length > 0.0))
    facing = facing[np.argsort(corner[facing, :, 2].mean(axis=1))]
    light = normal[facing] @ np.array([0.3, 0.5, 0.81]) / length[facing]
    shade = np.clip(0.45 + 0.5 * light, 0.0, 0.97)
    colors = 1.0 - strength * (1.0 - np.stack([shade, 0.97 * shade, 0.94 * shade], axis=1))
    polygons = corner[facing, :, :2] + np.array([shift, 0.0])
    axes.add_collection(PolyCollection(list(polygons), facecolors=colors, edgecolors="none", antialiaseds=False))


def outline(shape: CollisionShape, origin: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Silhouette of a shape in a view [m], counter-clockwise, shape (P, 2)."""
    from scipy.spatial import ConvexHull

    if shape.kind == "box":
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        points = shape.center + signs * np.array(shape.size)
    else:
        polar, around = np.meshgrid(np.linspace(0, np.pi, 25), np.linspace(0, 2 * np.pi, 48, endpoint=False))
        ball = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1)
        half = shape.size[1] if shape.kind == "capsule" else 0.0
        points = shape.center + shape.size[0] * ball.reshape(-1, 3)
        points = np.concatenate([points + half * shape.axis, points - half * shape.axis])
    flat = (points + origin) @ view.T[:, :2]
    return flat[ConvexHull(flat).vertices]


def _draw_joints(axes: Axes, body: BodyModel, view: np.ndarray) -> None:
    flat = body.joint_pos @ view.T
    for index in range(1, len(PARENTS)):
        ends = flat[[PARENTS[index], index]]
        axes.plot(ends[:, 0], ends[:, 1], color=figure_style.BLACK, linewidth=0.8)
    for index, name in enumerate(BODY_NAMES):
        color = {"L": figure_style.LEFT, "R": figure_style.RIGHT}.get(name[:2].rstrip("_"), figure_style.OTHER)
        axes.plot(*flat[index, :2], "o", color=color, markersize=3.5)


def _name_joints(axes: Axes, body: BodyModel, view: np.ndarray) -> None:
    below = {"Pelvis": (-9, -9), "L_Thorax": (4, -8)}  # beside their joints others are in the way
    for index, name in enumerate(BODY_NAMES):
        if not name.startswith("R_"):
            x, y = (body.joint_pos[index] @ view.T)[:2]
            arm = body.joint_pos[index, 1] > 0.12
            offset = below.get(name, (0, 5) if arm else (6, -2))
            axes.annotate(
                name.removeprefix("L_"), (x, y), offset, textcoords="offset points", fontsize=6,
                ha="left", rotation=45 if arm else 0,
            )  # fmt: skip


def _draw_shapes(axes: Axes, body: BodyModel, view: np.ndarray) -> None:
    from matplotlib.patches import Polygon

    for shape in body.shapes:
        name = BODY_NAMES[shape.body]
        color = {"L": figure_style.LEFT, "R": figure_style.RIGHT}.get(name[:2].rstrip("_"), figure_style.OTHER)
        patch = Polygon(outline(shape, body.joint_pos[shape.body], view), facecolor=color, alpha=0.35, edgecolor=color)
        axes.add_patch(patch)


def _draw_markers(axes: Axes, body: BodyModel, name: str, view: np.ndarray, named: bool) -> None:
    markers = marker_set(name)
    points, _, _ = marker_points(body, markers)
    flat = points @ view.T
    # Behind the body's middle a marker would be seen through it.
    middle = (body.joint_pos[[0, 6, 9]] @ view.T)[:, 2].mean()
    seen = flat[:, 2] > middle - (0.0 if named else 0.02)
    axes.plot(flat[seen, 0], flat[seen, 1], "o", color=figure_style.VERMILLION, markersize=2.6)
    if named:
        for label, (x, y, _) in zip(np.array(markers.labels)[seen], flat[seen]):
            axes.annotate(label, (x, y), (2, 2), textcoords="offset points", fontsize=4.5)


def _frame(axes: Axes, title: str, width: float, height: float = 1.85, left: float | None = None) -> None:
    axes.set_xlim(-width if left is None else left, width)
    axes.set_ylim(-0.03, height)
    axes.set_aspect("equal")
    axes.set_title(title)
    axes.grid(False)
    figure_style.label(axes, x=("Across", "m"), y=("Height", "m"))


def main(cfg: PictureConfig) -> None:
    """Draw the picture and write it."""
    with figure_style.style():
        figure, grid = figure_style.new_figure(3, 2, width=11.0, height=14.0)
        body = make_body(Subject(name="neutral"))
        panels = grid.ravel()
        draw_skin(panels[0], body, FRONT, strength=0.7)
        _draw_joints(panels[0], body, FRONT)
        _name_joints(panels[0], body, FRONT)
        _frame(panels[0], "24 bodies and their joints (1.72 m, 70 kg, front)", 1.0)

        draw_skin(panels[1], body, FRONT, strength=0.5)
        _draw_shapes(panels[1], body, FRONT)
        side = panels[1].inset_axes((0.03, 0.02, 0.28, 0.42))
        draw_skin(side, body, SIDE, strength=0.5)
        _draw_shapes(side, body, SIDE)
        side.set(xlim=(-0.25, 0.32), ylim=(-0.01, 0.5), aspect="equal", xticks=[], yticks=[])
        side.set_title("side: shank, foot, toes", fontsize=7)
        side.grid(False)
        _frame(panels[1], "Collision shapes: capsules, spheres, boxes (feet, fingers)", 1.0)

        for panel, view, text in ((panels[2], FRONT, "front"), (panels[3], BACK, "back")):
            draw_skin(panel, body, view)
            _draw_markers(panel, body, "plug_in_gait_39", view, named=True)
            _frame(panel, f"Plug-in Gait 39 ({text})", 1.0)

        draw_skin(panels[4], body, FRONT)
        _draw_markers(panels[4], body, "dense", FRONT, named=False)
        _frame(panels[4], "Dense set, 128 points in mirror pairs (front half)", 1.0)

        for index, person in enumerate(PEOPLE):
            draw_skin(panels[5], make_body(person), SIDE, shift=0.62 * index)
            panels[5].annotate(person.name, (0.62 * index, 2.05), ha="center", fontsize=6)
        _frame(panels[5], "Any sex, height and mass (side)", 2.85, height=2.15, left=-0.35)
        figure_style.save(figure, cfg.out)


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(PictureConfig, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("picture", run))
