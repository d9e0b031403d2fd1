"""Which frames of a motion a person could have done on flat, empty ground.

The judgement needs no simulator: heights of the collision shapes, speeds, and Newton's law for the centre of mass. With
total mass m and centre of mass c, the ground must give F = m (c̈ + g ẑ) at the centre of pressure c_xy − c_z c̈_xy /
(c̈_z + g); a frame whose F needs a support where no part of the body is near the floor is one with an object, a slope,
or an error in it.

Axis legend: T frames, N = 24 bodies, C collision shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from dataset import rotation
from dataset.body.model import BodyModel
from dataset.kinematics import forward_kinematics
from dataset.motion.ground import center_of_mass, lowest_points
from dataset.motion.retarget import retarget
from dataset.schema import Motion
from dataset.skeleton import FEET, GRAVITY

PENETRATION: Final[float] = 0.06
"""A frame whose lowest point is deeper than this penetrates [m]."""
NEAR_FLOOR: Final[float] = 0.10
"""A collision shape lower than this may carry load [m]."""
FLOAT_LOAD: Final[float] = 0.5
"""Body weights that a frame with nothing near the floor may seem to need (capture noise) before it counts as
floating."""
SUPPORT_DISTANCE: Final[float] = 0.30
"""Distance that the centre of pressure may lie from the nearest low body [m] (shapes reach about 0.15 m from their
centre)."""
FASTEST_ROOT: Final[float] = 10.0
"""Pelvis speed above which a frame jumps [m/s]."""
FASTEST_TURN: Final[float] = np.radians(1800.0)
"""Joint speed above which a frame jumps [rad/s]."""
SPIKE: Final[tuple[float, float]] = (np.radians(40.0), 6.0)
"""A joint step above this angle [rad] and this many times the neighbours' median is a jump."""
LASTING: Final[float] = 0.2
"""Shortest time without support that counts [s]: briefer ones are the capture's and the fit's noise."""
SMOOTHING: Final[float] = 0.06
"""Gaussian width of the centre of mass before differentiation [s]."""
MARGIN: Final[float] = 0.1
"""Cut around bad frames [s]."""
MIN_STRETCH: Final[float] = 1.5
"""Shortest stretch worth keeping [s]; a clip shorter than this is kept whole or not at all."""
STILL: Final[float] = 0.03
"""A clip longer than 1 s in which no joint's coordinate varies by more than this [m] is a still picture."""
STEP_HEIGHT: Final[float] = 0.10
"""Feet that stand at heights further apart than this [m] stand on objects or a slope."""


@dataclass(frozen=True, kw_only=True)
class MotionReport:
    """What is wrong with a motion, where, and which stretches of it are usable."""

    name: str
    """`source/name` of the motion."""
    duration: float
    """Length [s]."""
    frame_rate: float
    """Rate that the frame numbers below refer to [Hz]."""
    bad_frames: dict[str, np.ndarray]
    """Reason (`penetrates`, `floats`, `unsupported`, `jumps`) -> frame numbers."""
    stretches: tuple[tuple[int, int], ...]
    """Usable stretches as (first frame, one past the last)."""
    penetration_max: float
    """Deepest point below the floor [m], >= 0, after the constant height correction."""
    penetration_mean: float
    """Mean over frames of the depth below the floor [m]."""
    slide_speed: float
    """Mean horizontal speed of the feet while they are within 3 cm of the floor and not faster than 1 m/s [m/s]; NaN if
    never."""
    slide_fraction: float
    """Fraction of those frames in which it is above 0.3 m/s."""
    stance_range: float
    """Spread (5th to 95th percentile) of the heights at which feet stand still [m]; NaN if they never do."""
    speed: float
    """Mean horizontal speed of the pelvis [m/s]."""
    refusal: str
    """Why nothing of it is usable; empty if something is."""

    @property
    def is_usable(self) -> bool:
        """Whether any stretch is usable."""
        return not self.refusal

    @property
    def usable_duration(self) -> float:
        """Total length of the usable stretches [s]."""
        return sum(stop - start - 1 for start, stop in self.stretches) / self.frame_rate

    @property
    def complaints(self) -> str:
        """What is wrong and where, such as `penetrates in 12 frames (3-10, 21-24)`; empty if nothing is."""
        return _complaints(self.bad_frames)


def screen_motion(motion: Motion, body: BodyModel) -> MotionReport:
    """Judges a motion on a body; a clip should come as its reader returned it, before penetration is lifted.

    Args:
        motion: A clip on the canonical skeleton (retargeted here, without lifting), or one already retargeted to
            `body`.
        body: Body of the subject.
    """
    if motion.leg_length is not None:
        motion = retarget(motion, body, lift=False)
    rate = motion.frame_rate
    body_pos, body_quat = forward_kinematics(body.offset, motion.root_pos, motion.quat)
    heights = lowest_points(body.shapes, body_pos, body_quat)
    lowest = heights.min(axis=1)

    jumps = _jumping_frames(motion)
    load, pressure = _required_support(center_of_mass(body, body_pos, body_quat), rate)
    centers = np.stack(
        [body_pos[:, s.body, :2] + rotation.rotate(body_quat[:, s.body], s.center)[:, :2] for s in body.shapes], axis=1
    )
    is_low = heights < NEAR_FLOOR
    distance = np.linalg.norm(centers - pressure[:, None], axis=-1)
    nearest = _hull_distance(centers, is_low, pressure, distance)
    bad = {
        "penetrates": lowest < -PENETRATION,
        "floats": ~is_low.any(axis=1) & (load > FLOAT_LOAD),
        "unsupported": is_low.any(axis=1) & (load > 0.3) & (nearest > SUPPORT_DISTANCE),
        "jumps": jumps,
    }
    for reason in ("floats", "unsupported"):
        bad[reason] = _lasting(bad[reason], round(LASTING * rate))

    stance_range = _stance_range(body, body_pos, heights, distance, rate)
    stretches = _good_stretches(np.any(list(bad.values()), axis=0), bad["jumps"], rate)
    slide_speed, slide_fraction = _foot_sliding(body, body_pos, body_quat, heights, rate)
    refusal = ""
    if stance_range > STEP_HEIGHT:
        refusal = f"feet stand at heights {stance_range:.2f} m apart: objects, a slope or a drifting floor"
        stretches = ()
    elif motion.num_frames > rate and float(np.ptp(body_pos, axis=0).max()) < STILL:
        refusal = f"nothing moves by more than {STILL} m in {motion.duration:.1f} s"
        stretches = ()
    elif not stretches:
        found = _complaints({reason: np.flatnonzero(mask) for reason, mask in bad.items()})
        refusal = f"no usable stretch in {motion.num_frames} frames: {found or f'shorter than {MIN_STRETCH} s'}"
    horizontal = np.diff(motion.root_pos[:, :2], axis=0)
    return MotionReport(
        name=f"{motion.source}/{motion.name}", duration=motion.duration, frame_rate=rate,
        bad_frames={reason: np.flatnonzero(mask) for reason, mask in bad.items()}, stretches=stretches,
        penetration_max=max(0.0, -float(lowest.min())), penetration_mean=float(np.maximum(0.0, -lowest).mean()),
        slide_speed=slide_speed, slide_fraction=slide_fraction, stance_range=stance_range,
        speed=float(np.linalg.norm(horizontal, axis=-1).mean() * rate) if len(horizontal) else 0.0, refusal=refusal,
    )  # fmt: skip


def _complaints(bad_frames: dict[str, np.ndarray], most: int = 5) -> str:
    """Reasons with their number of frames and the first runs of frame numbers."""
    parts = []
    for reason, frames in bad_frames.items():
        if not len(frames):
            continue
        runs = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
        where = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:most]]
        where += [f"{len(runs) - most} more runs"] if len(runs) > most else []
        parts.append(f"{reason} in {len(frames)} frames ({', '.join(where)})")
    return ", ".join(parts)


def _jumping_frames(motion: Motion) -> np.ndarray:
    """Frames reached by a step that no body makes, shape (T,)."""
    from scipy.ndimage import median_filter

    rate = motion.frame_rate
    steps = rotation.angle_between(motion.quat[:-1], motion.quat[1:])
    steps[:, [foot[1] for foot in FEET]] = 0.0  # toes are bent by the retargeting, not by the person
    usual = median_filter(steps, size=(9, 1), mode="nearest")
    turned = (steps > FASTEST_TURN / rate) | ((steps > SPIKE[0]) & (steps > SPIKE[1] * usual))
    moved = np.linalg.norm(np.diff(motion.root_pos, axis=0), axis=-1) > FASTEST_ROOT / rate
    return np.concatenate(([False], turned.any(axis=1) | moved))


def _required_support(com: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Vertical ground force in body weights, shape (T,), and the centre of pressure it must have [m], shape (T, 2)."""
    from scipy.ndimage import gaussian_filter1d

    sigma = SMOOTHING * rate
    pad = max(1, round(4 * sigma))
    padded = np.pad(com, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd") if len(com) > pad else com
    smooth = gaussian_filter1d(padded, sigma, axis=0)
    acceleration = np.gradient(np.gradient(smooth, 1.0 / rate, axis=0), 1.0 / rate, axis=0)
    if len(com) > pad:
        smooth, acceleration = smooth[pad:-pad], acceleration[pad:-pad]
    vertical = acceleration[:, 2] + GRAVITY
    pressure = smooth[:, :2] - smooth[:, 2:] * acceleration[:, :2] / np.maximum(vertical, 0.3 * GRAVITY)[:, None]
    return vertical / GRAVITY, pressure


def _hull_distance(centers: np.ndarray, is_low: np.ndarray, pressure: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Distance from the centre of pressure to the low shapes, or to the segments between them [m], shape (T,)."""
    nearest = np.where(is_low, distance, np.inf).min(axis=1)
    for frame in np.flatnonzero((nearest > SUPPORT_DISTANCE) & (is_low.sum(axis=1) > 1)):
        points = centers[frame, is_low[frame]]
        start, along = points[:, None], points[None] - points[:, None]
        length = np.maximum(np.sum(along**2, axis=-1), 1e-12)
        place = np.clip(np.sum((pressure[frame] - start) * along, axis=-1) / length, 0.0, 1.0)
        gap = np.linalg.norm(pressure[frame] - start - place[..., None] * along, axis=-1)
        nearest[frame] = min(nearest[frame], float(gap.min()))
    return nearest


def _lasting(mask: np.ndarray, frames: int) -> np.ndarray:
    """The runs of True that last at least `frames`."""
    from scipy.ndimage import binary_opening

    return binary_opening(mask, np.ones(max(1, frames), dtype=bool))


def _stance_range(
    body: BodyModel, body_pos: np.ndarray, heights: np.ndarray, distance: np.ndarray, rate: float
) -> float:
    """Spread of the heights of feet at rest under the centre of pressure (a leg held in the air bears nothing) [m]."""
    found = []
    for foot in FEET:
        shapes = [index for index, shape in enumerate(body.shapes) if shape.body in foot]
        if not shapes or len(body_pos) < 3:
            continue
        speed = np.max(np.linalg.norm(np.gradient(body_pos[:, list(foot)], 1.0 / rate, axis=0), axis=-1), axis=1)
        rests = _lasting((speed < 0.15) & (distance[:, shapes].min(axis=1) < 0.15), round(0.2 * rate))
        found.append(heights[rests][:, shapes].min(axis=1))
    values = np.concatenate(found) if found else np.zeros(0)
    return float(np.subtract(*np.percentile(values, [95.0, 5.0]))) if len(values) >= 0.2 * rate else float("nan")


def _foot_sliding(
    body: BodyModel, body_pos: np.ndarray, body_quat: np.ndarray, heights: np.ndarray, rate: float
) -> tuple[float, float]:
    """Mean horizontal speed of foot shapes near the floor [m/s] and the fraction of frames above 0.3 m/s."""
    speeds = []
    for index, shape in enumerate(body.shapes):
        if shape.body not in (*FEET[0], *FEET[1]) or len(body_pos) < 3:
            continue
        sole = shape.center - np.array([0.0, 0.0, shape.size[-1] if shape.kind == "box" else shape.size[0]])
        point = body_pos[:, shape.body, :2] + rotation.rotate(body_quat[:, shape.body], sole)[:, :2]
        speed = np.linalg.norm(np.gradient(point, 1.0 / rate, axis=0), axis=-1)
        speeds.append(speed[(heights[:, index] < 0.03) & (speed < 1.0)])
    values = np.concatenate(speeds) if speeds else np.zeros(0)
    if not len(values):
        return float("nan"), float("nan")
    return float(values.mean()), float((values > 0.3).mean())


def _good_stretches(is_bad: np.ndarray, jumps: np.ndarray, rate: float) -> tuple[tuple[int, int], ...]:
    """Runs of good frames, `MARGIN` away from bad ones; a jump lies between two frames, so both sides are cut."""
    from scipy.ndimage import binary_dilation

    frames = len(is_bad)
    bad = is_bad.copy()
    bad[:-1] |= jumps[1:]
    margin = round(MARGIN * rate)
    if margin and bad.any():
        bad = binary_dilation(bad, np.ones(2 * margin + 1, dtype=bool))
    edges = np.flatnonzero(np.diff(np.concatenate(([1], bad.astype(int), [1]))))
    shortest = min(MIN_STRETCH * rate, frames - 1)
    return tuple(
        (int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2]) if stop - start > shortest - 1e-6
    )
