"""Checks of stored data: hashes of files, ranges of values, and the physics that the records themselves allow to check.

A sequence passes if its records agree with each other: closed equations of motion, momentum balance, windows of force
that tile the stretch, velocities that are the derivative of the poses, centres of pressure near the body.

Axis legend: T frames, P = T - 1 transitions, N bodies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dataset import rotation
from dataset.fields import FIELDS
from dataset.manifest import FLOAT32, OFFSETS, RecordKey
from dataset.place import join
from dataset.schema import FRAME_RATE, Dynamics
from dataset.shard import Shard
from dataset.skeleton import GRAVITY
from dataset.store import Store
from kernels.grf import MIN_FORCE

_EDGE_WEIGHT = 0.5
"""Share of a full averaging window that a one-sided one covers."""


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Limits of the checks."""

    max_closure: float = 1e-8
    """Largest residual of the equations of motion in any substep [body weights]."""
    max_closure_float32: float = 1e-3
    """The same for records flagged `float32`."""
    max_momentum_median: float = 0.01
    """Largest median of the momentum balance over the whole data set [body weights]."""
    max_quat_error: float = 1e-5
    """Largest deviation of a quaternion's length from 1 (float32 leaves 1e-7)."""
    max_pull: float = 1e-3
    """Largest downward force of the ground [body weights]: floors do not pull."""
    max_tiling_error: float = 1e-4
    """Largest difference of the force summed over frames and over transitions, as a share of body weight times T."""
    max_distance: float = 1e4
    """Largest distance of the pelvis from the origin [m]."""
    max_speed: float = 30.0
    """Largest speed of the pelvis [m/s]: nobody falls or runs so fast."""
    max_spin: float = 200.0
    """Largest angular velocity of a body [rad/s]: five times a thrower's shoulder."""
    max_impulse: float = 60.0
    """Largest impulse of a joint in a transition [N·m·s]: 1800 N·m over its whole length."""
    max_force: float = 100.0
    """Largest force of the ground on a body [body weights]."""
    max_cop_distance: float = 2.5
    """Largest horizontal distance of a centre of pressure from the pelvis [m]: farther than an arm reaches."""
    max_root_vel_error: float = 0.05
    """Largest median difference of stored pelvis velocity and finite differences of its position [m/s]."""
    max_ang_vel_error: float = 0.5
    """Largest median difference of stored angular velocities and finite differences of the quaternions [rad/s]."""
    max_velocity_share: float = 0.2
    """Share of the root mean square velocity that these two differences may reach instead: what impacts leave between
    frames. A wrong frame, unit or time step gives about 1."""


def verify_store(
    store: Store,
    config: VerifyConfig | None = None,
    *,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> list[str]:
    """Everything wrong with a data set, one sentence each; empty if it is sound.

    Args:
        store: Data set.
        config: Limits.
        progress: Wraps the numbers of the sequences, for a progress bar.
    """
    config = config or VerifyConfig()
    complaints = [f"{folder}: half-written shard, ignored by readers; delete it" for folder in store.incomplete]
    for shard in store.shards:
        complaints += shard.find_damage() or _wrong_layout(shard)
    counts = Counter(info.name for info in store.sequences)
    complaints += [f"{store.path}: sequence {name!r} occurs {n} times" for name, n in counts.items() if n > 1]
    complaints += _twins(store)
    balance = []
    for number in progress(range(len(store))):
        item = store.read(number)
        complaints += [f"sequence {item.name!r}: {complaint}" for complaint in check_sequence(item, config)]
        balance.append(item.momentum_error)
    if balance and (median := float(np.median(np.concatenate(balance)))) > config.max_momentum_median:
        complaints.append(
            f"{store.path}: momentum_error: expected a median of at most {config.max_momentum_median:g} body weights,"
            f" found {median:.4f}"
        )
    return complaints


def _wrong_layout(shard: Shard) -> list[str]:
    """Offsets, lengths and counts of an undamaged shard that do not agree with its sequences."""
    offsets = np.concatenate(([0], np.cumsum([info.num_frames for info in shard.sequences], dtype=np.int64)))
    complaints = []
    if not np.array_equal(shard.field(OFFSETS), offsets) or [info.start for info in shard.sequences] != list(
        offsets[:-1]
    ):
        complaints.append(f"{shard.place}: offsets: expected those of the sequences' lengths, found others")
    rows = {"frame": int(offsets[-1]), "transition": int(offsets[-1]) - len(shard.sequences)}
    complaints += [
        f"{join(shard.place, field.file)}: expected {rows[field.per]} rows, found {len(shard.field(field.name))}"
        for field in FIELDS
        if len(shard.field(field.name)) != rows[field.per]
    ]
    counts = {"sequences": len(shard.sequences), "frames": rows["frame"], "transitions": rows["transition"],
              "subjects": len(shard.subjects), "dropped": len(shard.dropped)}  # fmt: skip
    complaints += [
        f"{shard.place}: counts: expected {value} {name}, found {shard.manifest['counts'][name]}"
        for name, value in counts.items()
        if shard.manifest["counts"][name] != value
    ]
    return complaints


def _twins(store: Store) -> list[str]:
    """Sequences under different names that are one record."""
    names: dict[RecordKey, str] = {}
    return [
        f"{store.path}: sequence {info.name!r} is the same record as {first!r}; delete the shard of one"
        for info in store.sequences
        if info.record_key and (first := names.setdefault(info.record_key, info.name)) != info.name
    ]


def check_sequence(item: Dynamics, config: VerifyConfig | None = None) -> list[str]:
    """What is wrong with one sequence by its own records, one phrase each; empty if nothing."""
    config = config or VerifyConfig()
    weight = item.subject.mass * GRAVITY
    max_closure = config.max_closure_float32 if FLOAT32 in item.flags else config.max_closure
    return [
        complaint
        for complaint in (
            _not_finite(item),
            _over("closure_error", item.closure_error, max_closure, "body weights", "transition"),
            _over(
                "quat", np.abs(np.linalg.norm(item.quat, axis=-1) - 1).max(axis=1), config.max_quat_error, "", "frame"
            ),
            _over("grf", -item.grf[..., 2].min(axis=1) / weight, config.max_pull, "body weights of pull", "frame"),
            _over("root_pos", _size(item.root_pos), config.max_distance, "m", "frame"),
            _over("root_vel", _size(item.root_vel), config.max_speed, "m/s", "frame"),
            _over("ang_vel", _size(item.ang_vel), config.max_spin, "rad/s", "frame"),
            _over("impulse", _size(item.impulse), config.max_impulse, "N·m·s", "transition"),
            _over("grf", _size(item.grf) / weight, config.max_force, "body weights", "frame"),
            _over("grf_mean", _size(item.grf_mean) / weight, config.max_force, "body weights", "transition"),
            _wrong_cop(item, config),
            _tiling_error(item, weight, config),
            _velocity_error(item, config),
            _spin_error(item, config),
        )
        if complaint
    ]


def _not_finite(item: Dynamics) -> str:
    names = ("root_pos", "quat", "root_vel", "ang_vel", "impulse", "grf_mean", "grf", "free_moment", "momentum_error")
    bad = [name for name in names if not np.isfinite(getattr(item, name)).all()]
    return f"expected finite values, found others in {', '.join(bad)}" if bad else ""


def _size(vectors: np.ndarray) -> np.ndarray:
    """Longest vector of each row; 0 where it is not finite, which is a complaint of its own."""
    length = np.linalg.norm(np.nan_to_num(vectors, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float64), axis=-1)
    return length.reshape(len(length), -1).max(axis=1)


def _over(name: str, values: np.ndarray, limit: float, unit: str, row: str) -> str:
    """Complaint about the largest value above a limit; NaN counts as above."""
    bad = ~(values <= limit)
    if not bad.any():
        return ""
    worst = int(np.argmax(np.where(np.isnan(values), np.inf, values)))
    return f"{name}: expected at most {limit:g}{unit and ' ' + unit}, found {values[worst]:.3g} in {row} {worst}"


def _wrong_cop(item: Dynamics, config: VerifyConfig) -> str:
    has_cop = np.isfinite(item.cop).all(axis=-1)
    vertical = item.grf[..., 2]
    slack = 1e-3 * MIN_FORCE  # float32 of a force that was compared in float64
    if np.any(has_cop & (vertical < MIN_FORCE - slack)) or np.any(~has_cop & (vertical > MIN_FORCE + slack)):
        return f"cop: expected a value where and only where the vertical force reaches {MIN_FORCE} N"
    if np.any(item.free_moment[~has_cop] != 0):
        return "free_moment: expected 0 where there is no centre of pressure"
    distance = np.linalg.norm(item.cop - item.root_pos[:, None, :2], axis=-1)
    farthest = np.where(has_cop, distance, 0.0).max(axis=1)
    return _over("cop", farthest, config.max_cop_distance, "m from the pelvis", "frame")


def _tiling_error(item: Dynamics, weight: float, config: VerifyConfig) -> str:
    """Averaging windows of frames tile the transitions, if both ends are one-sided."""
    if not (item.is_edge[0] and item.is_edge[-1]) or item.is_edge[1:-1].any():
        return ""  # cut out of a longer stretch: the windows of the first and last frame reach beyond it
    share = np.where(item.is_edge, _EDGE_WEIGHT, 1.0)
    over_frames = np.tensordot(share, item.grf.astype(np.float64), 1)
    over_transitions = item.grf_mean.sum(axis=0, dtype=np.float64)
    error = np.abs(over_frames - over_transitions).max(axis=1) / (weight * item.num_frames)
    return _over("grf and grf_mean", error, config.max_tiling_error, "body weights apart", "body")


def _velocity_error(item: Dynamics, config: VerifyConfig) -> str:
    difference = np.diff(item.root_pos.astype(np.float64), axis=0) * FRAME_RATE
    error = _derivative_error(item, item.root_vel, difference, config.max_root_vel_error, config)
    return f"root_vel: expected the derivative of root_pos, found it off by {error} m/s" if error else ""


def _spin_error(item: Dynamics, config: VerifyConfig) -> str:
    turn = rotation.to_rotation_vector(rotation.multiply(rotation.conjugate(item.quat[:-1]), item.quat[1:]))
    error = _derivative_error(item, item.ang_vel, turn * FRAME_RATE, config.max_ang_vel_error, config)
    return f"ang_vel: expected the derivative of quat, found it off by {error} rad/s" if error else ""


def _derivative_error(
    item: Dynamics, velocity: np.ndarray, difference: np.ndarray, limit: float, config: VerifyConfig
) -> str:
    """Median distance of a velocity from finite differences, with the limit it exceeds; empty if it does not."""
    speed = float(np.sqrt(np.mean(np.sum(np.square(velocity, dtype=np.float64), axis=-1))))
    limit = max(limit, config.max_velocity_share * speed)
    error = float(np.median(np.linalg.norm(difference - _mean_over_substeps(item, velocity), axis=-1)))
    return "" if error <= limit else f"{error:.3g}, above {limit:.3g}"


def _mean_over_substeps(item: Dynamics, velocity: np.ndarray) -> np.ndarray:
    """Mean velocity that moved the body in each transition, velocities in between taken as linear.

    Simulators integrate positions with the velocity at the END of each substep (semi-implicit Euler), so the mean over S of
    them is v_0 + (v_1 - v_0) (S + 1) / (2 S), later than the middle of the transition by half a substep.
    """
    substeps = max(round(1.0 / (FRAME_RATE * item.substep)), 1)
    share = (substeps + 1) / (2 * substeps)
    return (1.0 - share) * velocity[:-1] + share * velocity[1:]
