"""Bodies from segment lengths and mass: inertias of adults after de Leva (1996), lumped into the gait model's segments.

The pelvis is de Leva's lower trunk; the gait model's trunk carries middle and upper trunk, head and hanging arms.

P. de Leva, "Adjustments to Zatsiorsky-Seluyanov's segment inertia parameters", J. Biomech. 29:1223-1230 (1996), Table 4; the
other segments are in `dataset.body.segment_parameters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset.body.segment_parameters import mass_fractions, segment_parameters
from sim.gait.body import FOOT_BREADTH, GaitBody, Sole
from sim.gait.segments import NUM_SEGMENTS

_TRUNK_PARTS: Final = {
    # mass %, length [mm], centre % from the upper end, radii % (sagittal, transverse, longitudinal): (female), (male)
    "upper": ((15.45, 142.5, 20.77, 74.6, 50.2, 71.8), (15.96, 170.7, 29.99, 71.6, 45.4, 65.9)),
    "middle": ((14.65, 205.3, 45.12, 43.3, 35.4, 41.5), (16.33, 215.5, 45.02, 48.2, 38.3, 46.8)),
    "lower": ((12.47, 181.5, 49.20, 43.3, 40.2, 44.4), (11.17, 145.7, 61.15, 61.5, 55.1, 58.7)),
}
_STATURE: Final = (1735.0, 1741.0)
_LENGTHS: Final = {
    # mm, (female), (male): head with neck from the vertex, arm's three parts, thigh, shank
    "head": (200.2, 203.3), "upper_arm": (275.1, 281.7), "forearm": (264.3, 268.9), "hand": (78.0, 86.2),
    "thigh": (368.5, 422.2), "shank": (432.3, 434.0),
}  # fmt: skip
SHOULDER_HALF_BREADTH: Final = 0.129
"""Distance of the shoulder joints from the mid-plane over stature (Drillis & Contini 1966, in Winter, figure 4.1)."""
NECK_RISE: Final = 0.04
"""Height of the head segment's lower end (gonion) above the suprasternal notch over stature: what is left between the printed
lengths of trunk, legs and head (de Leva 1996)."""


@dataclass(frozen=True, kw_only=True)
class BodyLengths:
    """What is measured of a person; left and right as (left, right)."""

    hip: np.ndarray
    """Hip centres from their midpoint, x forward, y left, z up [m], shape (2, 3)."""
    thigh: tuple[float, float]
    """Hip to knee centre [m]."""
    shank: tuple[float, float]
    """Knee to ankle centre [m]."""
    heel: np.ndarray
    """Back of the heel on the ground in the foot's frame, from the ankle centre [m], shape (2, 3)."""
    foot: tuple[float, float]
    """Heel to toe tip [m]."""


def stature_of_legs(lengths: BodyLengths, sex: float) -> float:
    """Stature [m] that goes with the legs' length: thigh and shank over stature as in de Leva's subjects."""
    leg = float(np.mean(lengths.thigh) + np.mean(lengths.shank))
    printed = _between("thigh", sex) + _between("shank", sex)
    return leg / (printed * 1e-3) * _mix(_STATURE, sex)


def body_of_lengths(
    lengths: BodyLengths, *, mass: float, stature: float | None = None, sex: float = 0.5, name: str = ""
) -> GaitBody:
    """Body of a person from segment lengths and mass.

    Args:
        lengths: Measured lengths.
        mass: Body mass [kg].
        stature: Standing height [m]; None for the one that goes with the legs.
        sex: 0 male, 1 female, linear in between.
        name: Who it is.

    Raises:
        ValueError: a mass outside 10 to 300 kg or a stature outside 0.6 to 2.6 m.
    """
    if not 10.0 < mass < 300.0:
        raise ValueError(f"mass: expected 10 to 300 kg, got {mass:g}; give the body mass in kg")
    stature = stature_of_legs(lengths, sex) if stature is None else stature
    if not 0.6 < stature < 2.6:
        raise ValueError(
            f"stature: expected 0.6 to 2.6 m, got {stature:g}; check the markers' unit and the static trial"
        )
    scale = stature / _mix(_STATURE, sex)
    fractions = mass_fractions(sex)
    trunk = {part: _trunk_part(part, sex) for part in _TRUNK_PARTS}
    share = fractions["trunk"] / sum(row[0] for row in trunk.values())
    lower, middle, upper = (trunk[part] for part in ("lower", "middle", "upper"))
    waist = lower[1] * scale
    masses, com = np.zeros(NUM_SEGMENTS), np.zeros((NUM_SEGMENTS, 3))
    inertia, joint_pos = np.zeros((NUM_SEGMENTS, 3, 3)), np.zeros((NUM_SEGMENTS, 3))
    masses[0], com[0] = mass * share * lower[0], (0.0, 0.0, waist * (1.0 - lower[2]))
    inertia[0] = _diagonal(masses[0], waist, lower[3])
    joint_pos[1] = (0.0, 0.0, waist)
    parts = _upper_body(mass, share, middle, upper, fractions, stature, scale, sex)
    masses[1], com[1], inertia[1] = lump(parts)
    soles = []
    for side, thigh in ((0, 2), (1, 5)):
        joint_pos[thigh] = lengths.hip[side]
        for segment, part, length in ((thigh, "thigh", lengths.thigh[side]), (thigh + 1, "shank", lengths.shank[side])):
            row = segment_parameters(part, sex)
            masses[segment], com[segment] = mass * fractions[part], (0.0, 0.0, -row.center * length)
            inertia[segment] = _diagonal(masses[segment], length, row.radii)
            joint_pos[segment + 1] = (0.0, 0.0, -length)
        foot, row, long = thigh + 2, segment_parameters("foot", sex), lengths.foot[side]
        sole_center = lengths.heel[side] + np.array([0.5 * long, 0.0, 0.0])
        masses[foot] = mass * fractions["foot"]
        # Half way between ankle and sole in height, at de Leva's place along the foot.
        com[foot] = lengths.heel[side] + np.array([row.center * long, 0.0, -0.5 * lengths.heel[side][2]])
        sagittal, transverse, longitudinal = row.radii
        inertia[foot] = masses[foot] * long**2 * np.diag(np.square((longitudinal, transverse, sagittal)))
        soles.append(
            Sole(
                center=sole_center, rot_fs=np.eye(3), half_length=0.5 * long, half_width=0.5 * FOOT_BREADTH * long,
                heel=-0.5 * long, foot_length=long,
            )
        )  # fmt: skip
    return GaitBody(
        name=name, joint_pos=joint_pos, mass=masses, com=com, inertia=inertia, soles=(soles[0], soles[1]),
        notes=(f"Segment masses of de Leva 1996 for {mass:.1f} kg, stature {stature:.2f} m, sex {sex:g} (0 male, 1 female).",),
    )  # fmt: skip


def _upper_body(
    mass: float,
    share: float,
    middle: tuple,
    upper: tuple,
    fractions: dict[str, float],
    stature: float,
    scale: float,
    sex: float,
) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Middle and upper trunk, head and hanging arms about the waist: mass, centre, inertia of each."""
    parts, base = [], 0.0
    for row in (middle, upper):
        length = row[1] * scale
        weight = mass * share * row[0]
        parts.append((weight, np.array([0.0, 0.0, base + length * (1.0 - row[2])]), _diagonal(weight, length, row[3])))
        base += length
    head, length = segment_parameters("head", sex), _between("head", sex) * 1e-3 * scale
    weight = mass * fractions["head"]
    top = base + NECK_RISE * stature + length
    parts.append((weight, np.array([0.0, 0.0, top - head.center * length]), _diagonal(weight, length, head.radii)))
    for side in (1.0, -1.0):
        down = base
        for name in ("upper_arm", "forearm", "hand"):
            row, length = segment_parameters(name, sex), _between(name, sex) * 1e-3 * scale
            weight = mass * fractions[name]
            center = np.array([0.0, side * SHOULDER_HALF_BREADTH * stature, down - row.center * length])
            parts.append((weight, center, _diagonal(weight, length, row.radii)))
            down -= length
    return parts


def lump(parts: list[tuple[float, np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray, np.ndarray]:
    """Mass [kg], centre (3,) [m] and inertia about it (3, 3) [kg·m²] of rigidly joined parts (the same of each)."""
    mass = sum(part[0] for part in parts)
    center = sum((weight * at for weight, at, _ in parts), np.zeros(3)) / mass
    inertia = np.zeros((3, 3))
    for weight, at, own in parts:
        arm = at - center
        inertia += own + weight * (arm @ arm * np.eye(3) - np.outer(arm, arm))
    return mass, center, inertia


def _mix(pair: tuple[float, float], sex: float) -> float:
    return (pair[1] + sex * (pair[0] - pair[1])) * 1e-3


def _between(name: str, sex: float) -> float:
    female, male = _LENGTHS[name]
    return male + sex * (female - male)


def _trunk_part(name: str, sex: float) -> tuple[float, float, float, tuple[float, float, float]]:
    """Mass fraction, length [m] of the printed stature, centre from the upper end, radii."""
    female, male = (np.array(row) for row in _TRUNK_PARTS[name])
    row = male + sex * (female - male)
    return row[0] / 100.0, row[1] * 1e-3, row[2] / 100.0, (row[3] / 100.0, row[4] / 100.0, row[5] / 100.0)


def _diagonal(mass: float, length: float, radii: tuple[float, float, float]) -> np.ndarray:
    """Inertia of an upright segment: sagittal axis x, transverse y, longitudinal z."""
    return mass * length**2 * np.diag(np.square(radii))
