"""Families of joint names met in BVH and ASF files, and which one a file follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Joint names of one family of skeletons, in lower case and without a name-space prefix; `*` stands for the side."""

    name: str
    """What reports call it."""
    sides: tuple[str, str]
    """What stands for left and right."""
    pelvis: str
    """Joint that carries the whole figure."""
    limbs: dict[str, tuple[str, ...]]
    """Body without its side -> names that may drive it, the first one present is used."""
    trunk: tuple[str, ...]
    """Joints between pelvis and shoulders, from the pelvis up; those present form the chain for Torso, Spine, Chest."""
    neck: tuple[str, ...]
    """Joints above the chest, bottom up, for Neck and Head."""


_MIXAMO = {
    "Hip": ("*upleg",), "Knee": ("*leg",), "Ankle": ("*foot",), "Toe": ("*toebase", "*toes", "*toe"),
    "Thorax": ("*shoulder", "*shoulder1"), "Shoulder": ("*arm",), "Elbow": ("*forearm",), "Wrist": ("*hand",),
    "Hand": ("*handindex1", "*fingerbase"),
}  # fmt: skip
CONVENTIONS: Final[tuple[Convention, ...]] = (
    Convention(
        name="hips-upleg", sides=("left", "right"), pelvis="hips", limbs=_MIXAMO,
        trunk=("lowerback", "spine", "spine1", "spine2"), neck=("neck", "neck1", "head"),
    ),
    Convention(
        name="hips-knee-collar", sides=("left", "right"), pelvis="hips",
        limbs={
            "Hip": ("*hip",), "Knee": ("*knee",), "Ankle": ("*ankle",), "Toe": ("*toe",), "Thorax": ("*collar",),
            "Shoulder": ("*shoulder",), "Elbow": ("*elbow",), "Wrist": ("*wrist",), "Hand": (),
        },
        trunk=("lowerback", "chest", "chest2"), neck=("lowerneck", "neck", "head"),
    ),
    Convention(
        name="hip-thigh-shin", sides=("l", "r"), pelvis="hip",
        limbs={
            "Hip": ("*thigh",), "Knee": ("*shin",), "Ankle": ("*foot",), "Toe": ("*toe",), "Thorax": ("*collar",),
            "Shoulder": ("*shldr",), "Elbow": ("*forearm",), "Wrist": ("*hand",), "Hand": ("*mid1",),
        },
        trunk=("abdomen", "chest"), neck=("neck", "head"),
    ),
    Convention(
        name="acclaim", sides=("l", "r"), pelvis="root",
        limbs={
            "Hip": ("*femur",), "Knee": ("*tibia",), "Ankle": ("*foot",), "Toe": ("*toes",), "Thorax": ("*clavicle",),
            "Shoulder": ("*humerus",), "Elbow": ("*radius",), "Wrist": ("*hand", "*wrist"), "Hand": ("*fingers",),
        },
        trunk=("lowerback", "upperback", "thorax"), neck=("lowerneck", "upperneck", "head"),
    ),
)  # fmt: skip

_NEEDED = ("Hip", "Knee", "Ankle", "Shoulder", "Elbow")


def _plain(name: str) -> str:
    return name.lower().rsplit(":", 1)[-1].removeprefix("character1_")


def find_convention(names: tuple[str, ...], path: str) -> tuple[Convention, dict[str, int]]:
    """The convention that these joint names follow, and plain name -> joint.

    Raises:
        ValueError: If none fits; lists the names found and what is missing for the nearest convention.
    """
    index: dict[str, int] = {}
    for joint, name in enumerate(names):
        index.setdefault(_plain(name), joint)
    missing: dict[str, list[str]] = {}
    for convention in CONVENTIONS:
        lacking = [] if convention.pelvis in index else [convention.pelvis]
        for body in _NEEDED:
            for side in convention.sides:
                options = [item.replace("*", side) for item in convention.limbs[body]]
                if not any(option in index for option in options):
                    lacking.append(" or ".join(options))
        if not lacking:
            return convention, index
        missing[convention.name] = lacking
    nearest = min(missing, key=lambda name: len(missing[name]))
    raise ValueError(
        f"{path}: skeleton: expected joint names of one of the conventions {', '.join(missing)}; found {', '.join(names)}. "
        f"Nearest is {nearest}, which lacks {', '.join(missing[nearest])}: rename the joints or add a convention to "
        "dataset/motion/conventions.py"
    )
