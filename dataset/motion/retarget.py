"""Motions on a subject's body: bone directions kept, root path scaled by leg length, floor corrected, 30 Hz.

Axis legend: T frames, N = 24 bodies.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics, global_from_local, local_from_global
from dataset.motion.ground import lowest_points
from dataset.motion.resample import resample
from dataset.motion.tpose import canonical_direction, keep_bone_directions, rest_direction
from dataset.schema import FRAME_RATE, Motion
from dataset.skeleton import BODY_INDEX

FLOOR_PERCENTILE = 20.0
"""Percentile over frames of the body's lowest point that is put on the floor where it is never at rest."""
REST_SPEED = 0.3
"""Speed of the lowest shape below which it rests on the floor [m/s]."""
TOLERANCE = 0.005
"""Penetration that is not lifted [m]."""
LIFT_SIGMA = 0.1
"""Width of the Gaussian that smooths the lift of penetrating frames [s]."""

_HIPS = (BODY_INDEX["L_Hip"], BODY_INDEX["R_Hip"])


def leg_length(body: BodyModel) -> float:
    """Hip to knee to ankle of the body, mean of both sides [m]."""
    offset = np.linalg.norm(body.offset, axis=-1)
    names = ("L_Knee", "L_Ankle", "R_Knee", "R_Ankle")
    return 0.5 * float(sum(offset[BODY_INDEX[name]] for name in names))


def retarget(motion: Motion, body: BodyModel, frame_rate: float = FRAME_RATE, *, lift: bool = True) -> Motion:
    """The motion as this subject would do it.

    Long bones point where the source's point and keep its twist; the point midway between the hips follows the
    source's,
    scaled by the ratio of leg lengths (horizontally and vertically); poses are resampled to `frame_rate`. Then the
    height is corrected
    (`floor_lift`). The time base is kept, so a taller subject moves faster.

    Args:
        motion: A clip on the canonical skeleton (`leg_length` set), or one already on a subject.
        body: Body of the subject.
        frame_rate: Frames per second of the result [Hz].
        lift: Whether penetrating frames are lifted; without it only the constant is added, which is what
            `screen_motion` judges.

    Returns:
        The motion with `subject` set and `leg_length` None.

    Raises:
        ValueError: If the motion has been retargeted already, or has fewer than 2 frames.
    """
    if motion.leg_length is None:
        raise ValueError(
            f"Motion {motion.source}/{motion.name}: expected a clip as its reader returns it (leg_length set), "
            "found one that is on a subject already; retarget from the original"
        )
    if motion.num_frames < 2:
        raise ValueError(f"Motion {motion.source}/{motion.name}: expected at least 2 frames, found {motion.num_frames}")
    motion = resample(motion, frame_rate)
    body_quat = keep_bone_directions(
        global_from_local(motion.quat), canonical_direction(), rest_direction(body.joint_pos)
    )
    quat = rotation.make_continuous(rotation.normalize(local_from_global(body_quat)))

    scale = leg_length(body) / motion.leg_length
    between_hips = 0.5 * (body.offset[_HIPS[0]] + body.offset[_HIPS[1]])
    root_pos = scale * motion.root_pos - rotation.rotate(quat[:, 0], between_hips)
    root_pos[:, 2] += floor_lift(body, root_pos, quat, frame_rate, lift=lift)
    return dataclasses.replace(
        motion, root_pos=root_pos, quat=quat, subject=body.subject, leg_length=None, frame_rate=frame_rate
    )


def floor_lift(
    body: BodyModel, root_pos: np.ndarray, quat: np.ndarray, frame_rate: float, *, lift: bool = True
) -> np.ndarray:
    """Height to add in each frame [m], shape (T,): one constant for the clip plus a smooth lift of what penetrates.

    The constant puts the median height of the lowest point, over frames in which it rests (slower than `REST_SPEED`; at
    least a tenth
    of the clip, else the `FLOOR_PERCENTILE` over all frames), on z = 0. The lift is the running maximum of the
    remaining penetration over
    +-2 sigma, smoothed with sigma = `LIFT_SIGMA`: nowhere below the penetration (less `TOLERANCE`) and without corners.
    """
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    body_pos, body_quat = forward_kinematics(body.offset, root_pos, quat)
    heights = lowest_points(body, body_pos, body_quat)
    lowest = heights.min(axis=1)
    carrier = np.array([shape.body for shape in body.shapes])[heights.argmin(axis=1)]
    speed = np.linalg.norm(np.gradient(body_pos, 1.0 / frame_rate, axis=0), axis=-1)
    rests = speed[np.arange(len(carrier)), carrier] < REST_SPEED
    enough = rests.sum() >= max(3, 0.1 * len(rests))
    constant = -float(np.median(lowest[rests]) if enough else np.percentile(lowest, FLOOR_PERCENTILE))
    if not lift:
        return np.full_like(lowest, constant)
    penetration = np.maximum(0.0, -(lowest + constant) - TOLERANCE)
    sigma = LIFT_SIGMA * frame_rate
    reach = 2 * round(2 * sigma) + 1
    envelope = maximum_filter1d(penetration, reach, mode="nearest")
    return constant + gaussian_filter1d(envelope, sigma, mode="nearest", truncate=2.0)
