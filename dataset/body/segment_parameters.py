"""Body segment parameters of adults: masses, centres of mass and radii of gyration (de Leva 1996).

P. de Leva, "Adjustments to Zatsiorsky-Seluyanov's segment inertia parameters", J. Biomech. 29:1223-1230 (1996), Table 4.
Joint-to-joint lengths; the trunk runs from the suprasternal notch to the mid-hip point, the head includes the neck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True, kw_only=True)
class SegmentParameters:
    """One segment, per side for the limbs."""

    mass: float
    """Fraction of body mass."""
    center: float
    """Centre of mass as a fraction of segment length from the proximal joint."""
    radii: tuple[float, float, float]
    """Radii of gyration about the sagittal, transverse and longitudinal axis through the centre of mass, fraction of length."""


_TABLE: Final[dict[str, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    # mass %, centre %, radii % (sagittal, transverse, longitudinal): (female), (male)
    "head": ((6.68, 58.94, 33.0, 35.9, 31.8), (6.94, 59.76, 36.2, 37.6, 31.2)),
    "trunk": ((42.57, 41.51, 35.7, 33.9, 17.1), (43.46, 44.86, 37.2, 34.7, 19.1)),
    "upper_arm": ((2.55, 57.54, 27.8, 26.0, 14.8), (2.71, 57.72, 28.5, 26.9, 15.8)),
    "forearm": ((1.38, 45.59, 26.1, 25.7, 9.4), (1.62, 45.74, 27.6, 26.5, 12.1)),
    "hand": ((0.56, 74.74, 53.1, 45.4, 33.5), (0.61, 79.00, 62.8, 51.3, 40.1)),
    "thigh": ((14.78, 36.12, 36.9, 36.4, 16.2), (14.16, 40.95, 32.9, 32.9, 14.9)),
    "shank": ((4.81, 44.16, 27.1, 26.7, 9.3), (4.33, 44.59, 25.5, 24.9, 10.3)),
    "foot": ((1.29, 40.14, 29.9, 27.9, 13.9), (1.37, 44.15, 25.7, 24.5, 12.4)),
}

SEGMENTS: Final[tuple[str, ...]] = tuple(_TABLE)
"""Names of the eight segments."""

PAIRED_SEGMENTS: Final[frozenset[str]] = frozenset({"upper_arm", "forearm", "hand", "thigh", "shank", "foot"})
"""Segments that the body has twice."""


def segment_parameters(segment: str, sex: float) -> SegmentParameters:
    """Parameters of a segment, linear between the male (0) and the female (1) table; masses as printed, not renormalised."""
    female, male = (np.asarray(row) / 100.0 for row in _TABLE[segment])
    row = male + sex * (female - male)
    return SegmentParameters(
        mass=float(row[0]), center=float(row[1]), radii=(float(row[2]), float(row[3]), float(row[4]))
    )


def mass_fractions(sex: float) -> dict[str, float]:
    """Fraction of body mass per segment (one side), renormalised so that the whole body is exactly 1.

    The printed female column sums to 99.99 %.
    """
    raw = {segment: segment_parameters(segment, sex).mass for segment in SEGMENTS}
    total = sum(mass * (2.0 if segment in PAIRED_SEGMENTS else 1.0) for segment, mass in raw.items())
    return {segment: mass / total for segment, mass in raw.items()}
