"""Dividing the total ground reaction between the feet while both are on the ground.

Two estimates are averaged: the smooth transition of the trailing foot (Ren et al. 2008) and the share that the
zero-moment point takes on the line between the feet ("stmix"). In single support the foot carries the total, in flight
neither does.

Axis legend: T frames, F = 2 feet (left, right).
"""

from __future__ import annotations

import numpy as np

from dataset.lab.contact import intervals

LONGEST_TRANSITION = 0.6
"""A double support longer than this is standing, not a step [s]: no transition curve is used."""
_K1 = float(np.exp(4.0 / 9.0))
_K2 = 0.5 * _K1 * float(np.exp(-16.0 / 9.0))


def smooth_transition(phase: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decay of the trailing foot's force over double support, 1 at contact of the leading foot, about 0 at toe-off.

    With s = 2 · phase: vertical and lateral exp(−s³); forward k1 exp(−(s − 2/3)²) − k2 s, k1 = e^(4/9), k2 = k1
    e^(−16/9) / 2.

    Args:
        phase: Fraction of the double support, 0 to 1, shape (n,).

    Returns:
        (vertical and lateral factor, forward factor), shape (n,) each.

    Source: Ren, Jones and Howard, J. Biomech. 41:2750-2759 (2008), smooth transition assumption.
    """
    s = 2.0 * phase
    return np.exp(-(s**3)), _K1 * np.exp(-((s - 2.0 / 3.0) ** 2)) - _K2 * s


def moment_share(zmp: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of the second foot: where the zero-moment point projects on the line from the first to the second, 0 to 1.

    Args:
        zmp: Zero-moment point [m], shape (n, 2).
        first: Point of support of the first foot [m], shape (n, 2).
        second: Point of support of the second foot [m], shape (n, 2).
    """
    line = second - first
    return np.clip(((zmp - first) * line).sum(axis=1) / np.maximum((line**2).sum(axis=1), 1e-6), 0.0, 1.0)


def _moment_split(
    force: np.ndarray, zmp: np.ndarray, com: np.ndarray, points: tuple[np.ndarray, np.ndarray], floor: float
) -> np.ndarray:
    """Forces by the zero-moment share, (n, 2, 3): each leans from its foot to the centre of mass."""
    share = moment_share(zmp, *points)
    shares = np.stack([1.0 - share, share], axis=1)
    split = np.empty((len(force), 2, 3))
    split[:, :, 2] = shares * force[:, 2:3]
    for foot, point in enumerate(points):
        lean = (com[:, :2] - point) / np.maximum(com[:, 2:3] - floor, 0.2)
        split[:, foot, :2] = split[:, foot, 2:3] * lean
    residual = force[:, :2] - split[:, :, :2].sum(axis=1)
    split[:, :, :2] += shares[:, :, None] * residual[:, None]
    return split


def split_reaction(
    force: np.ndarray,
    zmp: np.ndarray,
    com: np.ndarray,
    contact: np.ndarray,
    support: np.ndarray,
    heading: np.ndarray,
    *,
    rate: float,
    floor: float = 0.0,
    transition: float = 0.5,
) -> np.ndarray:
    """Divide the total reaction between the feet.

    Args:
        force: Total force [N], world, shape (T, 3).
        zmp: Zero-moment point [m], shape (T, 2).
        com: Centre of mass [m], shape (T, 3).
        contact: Feet on the ground, shape (T, F).
        support: Point of support of each foot on the floor [m], shape (T, F, 2).
        heading: Unit horizontal direction of walking, shape (2,).
        rate: Frames per second [Hz].
        floor: Height of the floor [m].
        transition: Weight of the smooth transition in double support; the rest is the zero-moment share.

    Returns:
        Force on each foot [N], shape (T, F, 3); zero for a foot off the ground.
    """
    grf = np.zeros((len(force), 2, 3))
    for foot in range(2):
        alone = contact[:, foot] & ~contact[:, 1 - foot]
        grf[alone, foot] = force[alone]
    forward = np.array([heading[0], heading[1], 0.0])
    for start, stop in intervals(contact[:, 0] & contact[:, 1]):
        frames = slice(start, stop)
        lead = _leading_foot(contact, start, stop)
        trail = 1 - lead
        if not np.isfinite(force[frames]).all():
            grf[frames] = np.nan
            continue
        split = np.empty((stop - start, 2, 3))
        split[:, [trail, lead]] = _moment_split(
            force[frames], zmp[frames], com[frames], (support[frames, trail], support[frames, lead]), floor
        )
        stepping = start > 0 and stop < len(contact) and contact[stop, lead] and not contact[stop, trail]
        if (
            stepping
            and (stop - start) / rate < LONGEST_TRANSITION
            and contact[start - 1, trail]
            and not contact[start - 1, lead]
        ):
            phase = (np.arange(start, stop) - (start - 1)) / (stop - start + 1)
            fall, push = smooth_transition(phase)
            at_contact = force[start - 1] if np.isfinite(force[start - 1]).all() else force[start]
            ahead = at_contact @ forward
            trailing = fall[:, None] * (at_contact - ahead * forward) + (push * ahead)[:, None] * forward
            split[:, trail] = transition * trailing + (1.0 - transition) * split[:, trail]
            split[:, lead] = force[frames] - split[:, trail]
        grf[frames] = split
    grf[~np.isfinite(force).all(axis=1)] = np.nan
    return grf


def _leading_foot(contact: np.ndarray, start: int, stop: int) -> int:
    """Foot that came down last before, or stays down after, a double support; the left where neither is known."""
    if start > 0 and contact[start - 1].sum() == 1:
        return int(np.argmin(contact[start - 1]))
    if stop < len(contact) and contact[stop].sum() == 1:
        return int(np.argmax(contact[stop]))
    return 0
