"""Motions on a subject's body: bone directions kept, root path scaled by leg length, floor corrected, 30 Hz.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel, CollisionShape
from dataset.kinematics import forward_kinematics, global_from_local, local_from_global
from dataset.motion.extremities import HANDS, bend_extremities
from dataset.motion.feet import level_standing_feet
from dataset.motion.ground import lowest_points
from dataset.motion.resample import resample
from dataset.motion.tpose import canonical_direction, keep_bone_directions, rest_direction
from dataset.schema import FRAME_RATE, Motion
from dataset.skeleton import BODY_INDEX, FEET, GRAVITY

FLOOR_PERCENTILE = 20.0
"""Percentile over frames of the body's lowest point that is put on the floor where it is never at rest."""
REST_SPEED = 0.5
"""Speed of the lowest shape below which it rests on the floor [m/s]."""
CONTACT_BAND = 0.12
"""Height within which something that rests is taken to be on the floor, not on an object or in a hand [m]."""
LIFT_TIME = 0.08
"""Time scale of the height correction [s]."""
CARRIED = 0.4
"""Share of the body weight from which the floor must carry the body."""
PENETRATION_WEIGHT = 0.5
"""Weight of penetrating frames beside resting ones."""
TOLERANCE = 0.02
"""Penetration that is left alone [m]: a heel strike for a frame or two."""
BUMP_SIGMA = 0.03
"""Width of the Gaussian that lifts what is deeper [s]."""
_CURVE_ITERATIONS = 8

_HIPS = (BODY_INDEX["L_Hip"], BODY_INDEX["R_Hip"])


def leg_length(body: BodyModel) -> float:
    """Hip to knee to ankle of the body, mean of both sides [m]."""
    offset = np.linalg.norm(body.offset, axis=-1)
    names = ("L_Knee", "L_Ankle", "R_Knee", "R_Ankle")
    return 0.5 * float(sum(offset[BODY_INDEX[name]] for name in names))


def retarget(motion: Motion, body: BodyModel, frame_rate: float = FRAME_RATE, *, lift: bool = True) -> Motion:
    """The motion as this subject would do it.

    Long bones point where the source's point and keep its twist; the point midway between the hips follows the
    source's, scaled by the ratio of leg lengths (horizontally and vertically); poses are resampled to `frame_rate`.
    Then the floor is found (`floor_height`) and put on z = 0, feet that stand are levelled (`dataset.motion.feet`), toes and
    hands are bent to lie on it (`dataset.motion.extremities`) and the height follows the contacts (`contact_lift`). The time
    base is kept, so a taller subject moves faster.

    Args:
        motion: A clip on the canonical skeleton, as its reader returns it (`leg_length` set).
        body: Body of the subject.
        frame_rate: Frames per second of the result [Hz].
        lift: Whether the height follows the contacts; without it the clip keeps one floor height, which is what
            `screen_motion` judges.

    Returns:
        The motion with `subject` set and `leg_length` None.

    Raises:
        ValueError: If the motion has been retargeted already, or has fewer than 2 frames.
    """
    source_leg = motion.leg_length
    if source_leg is None:
        raise ValueError(
            f"Motion {motion.source}/{motion.name}: expected a clip as its reader returns it (leg_length set), "
            "found one that is on a subject already; retarget from the original"
        )
    duration = motion.duration
    motion = resample(motion, frame_rate)
    if motion.num_frames < 2:
        raise ValueError(
            f"Motion {motion.source}/{motion.name}: expected at least 2 frames at {frame_rate:g} Hz, found a clip of "
            f"{duration:.3f} s"
        )
    body_quat = keep_bone_directions(
        global_from_local(motion.quat), canonical_direction(), rest_direction(body.joint_pos)
    )
    quat = rotation.make_continuous(rotation.normalize(local_from_global(body_quat)))

    scale = leg_length(body) / source_leg
    between_hips = 0.5 * (body.offset[_HIPS[0]] + body.offset[_HIPS[1]])
    root_pos = scale * motion.root_pos - rotation.rotate(quat[:, 0], between_hips)
    root_pos[:, 2] -= floor_height(body, root_pos, quat, frame_rate)
    quat = level_standing_feet(body, root_pos, quat, frame_rate)
    quat = rotation.make_continuous(bend_extremities(body, root_pos, quat))
    if lift:
        root_pos[:, 2] += contact_lift(body, root_pos, quat, frame_rate)
    return dataclasses.replace(
        motion, root_pos=root_pos, quat=quat, subject=body.subject, leg_length=None, frame_rate=frame_rate
    )


def floor_height(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, frame_rate: float) -> float:
    """Height of the floor under a motion [m]: median height of the body's lowest point over frames in which it rests.

    A lowest shape rests while its body's joint is slower than `REST_SPEED`. Where that holds in fewer than a tenth of the
    frames, the `FLOOR_PERCENTILE` of the lowest point over all frames is taken instead. Hands and
    toes do not count: most sources do not know how they are turned.
    """
    ends = {part for hand in HANDS for part in hand} | {toe for _, toe in FEET}
    lowest, rests = _lowest_and_rest(
        [shape for shape in body.shapes if shape.body not in ends] or body.shapes, body, root_pos, quat, frame_rate
    )
    if rests.sum() >= max(3, 0.1 * len(rests)):
        return float(np.median(lowest[rests]))
    return float(np.percentile(lowest, FLOOR_PERCENTILE))


def contact_lift(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, frame_rate: float) -> np.ndarray:
    """Height to add in each frame so that what carries the body is on the floor and nothing is far below it [m], (T,).

    The curve c minimises Σ w (c + l)² + λ Σ (c̈ - a*)², l the lowest point, z̈ the vertical acceleration of the mass centre:

    - w = 1 where the body is carried: its lowest point is within `CONTACT_BAND` of the floor and either rests (see
      `floor_height`) or stays level while z̈ + g > `CARRIED`·g (a shoulder that is rolled over never rests);
      `PENETRATION_WEIGHT` where l + c < 0; else 0;
    - a* = max(0, -g - z̈): nothing pulls a body down, so a fall faster than gravity is slowed.

    λ passes changes slower than `LIFT_TIME`. Frames still deeper than `TOLERANCE` are then lifted by a short bump.
    """
    from scipy.linalg import solveh_banded
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    lowest, rests = _lowest_and_rest(body.shapes, body, root_pos, quat, frame_rate)
    acceleration = _vertical_acceleration(body, root_pos, quat, frame_rate)
    frames = len(lowest)
    stiffness = (LIFT_TIME * frame_rate) ** 4
    bands = np.zeros((3, frames))
    for order in range(3):
        if frames > order:
            bands[2 - order, order:] = stiffness * _diagonal(frames, order)
    wanted = stiffness * np.maximum(0.0, -GRAVITY - acceleration)[1:-1] / frame_rate**2
    push = np.zeros(frames)
    for place, factor in enumerate((1.0, -2.0, 1.0)):
        push[place : place + len(wanted)] += factor * wanted
    is_level = np.abs(np.gradient(lowest, 1.0 / frame_rate)) < REST_SPEED
    is_carried = (acceleration + GRAVITY > CARRIED * GRAVITY) & is_level
    touching = (rests | is_carried) & (np.abs(lowest) < CONTACT_BAND)
    curve = np.zeros(frames)
    for _ in range(_CURVE_ITERATIONS):
        weight = np.where(lowest + curve < 0.0, PENETRATION_WEIGHT, touching.astype(np.float64))
        matrix = bands.copy()
        matrix[2] += weight + 1e-6
        curve = solveh_banded(matrix, push - weight * lowest)
    excess = np.maximum(0.0, -(lowest + curve) - TOLERANCE)
    sigma = BUMP_SIGMA * frame_rate
    envelope = maximum_filter1d(excess, 2 * round(2 * sigma) + 1, mode="nearest")
    return curve + gaussian_filter1d(envelope, sigma, mode="nearest", truncate=2.0)


def _vertical_acceleration(body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, frame_rate: float) -> np.ndarray:
    """Vertical acceleration of the mass centre, smoothed by `BUMP_SIGMA` with odd ends [m/s²], shape (T,)."""
    from scipy.ndimage import gaussian_filter1d

    body_pos, body_quat = forward_kinematics(body.offset, root_pos, quat)
    centers = body_pos + rotation.rotate(body_quat, body.com[None])
    height = (centers[..., 2] * body.mass).sum(axis=1) / body.mass.sum()
    pad = min(8, len(height) - 1)
    ends = [2.0 * height[:1] - height[pad:0:-1], height, 2.0 * height[-1:] - height[-2 : -pad - 2 : -1]]
    smooth = gaussian_filter1d(np.concatenate(ends), BUMP_SIGMA * frame_rate)
    return np.gradient(np.gradient(smooth, 1.0 / frame_rate), 1.0 / frame_rate)[pad : pad + len(height)]


def _diagonal(frames: int, order: int) -> np.ndarray:
    """Diagonal `order` of DᵀD with D the second difference of `frames` values, shape (frames - order,)."""
    stencil = (1.0, -2.0, 1.0)
    diagonal = np.zeros(frames - order)
    for place in range(3 - order):
        diagonal[place : place + frames - 2] += stencil[place] * stencil[place + order]
    return diagonal


def _lowest_and_rest(
    shapes: Sequence[CollisionShape], body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, frame_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest point of these shapes [m] and whether its shape rests (joint slower than `REST_SPEED`), shape (T,) each."""
    body_pos, body_quat = forward_kinematics(body.offset, root_pos, quat)
    heights = lowest_points(shapes, body_pos, body_quat)
    carrier = np.array([shape.body for shape in shapes])[heights.argmin(axis=1)]
    speed = np.linalg.norm(np.gradient(body_pos, 1.0 / frame_rate, axis=0), axis=-1)
    return heights.min(axis=1), speed[np.arange(len(carrier)), carrier] < REST_SPEED
