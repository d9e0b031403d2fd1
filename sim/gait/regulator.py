"""A linear-quadratic regulator that keeps the simulated body near the measured motion: what a policy may learn first.

Around the measured motion every control step is linear in small deviations, e⁺ = A e + B a + c, found by stepping perturbed
copies of the body; c is what the simulated body does not follow by itself. Contacts come and go within a step, so A, B and c are
blurred over the gait phase. The Riccati recursion then gives the feedback a = ā + K (e − ē) that least costs Σ ½ eᵀQe + ½ aᵀRa,
where e is the deviation from the measured motion. Only the motion is used, no measured force.

Source: Anderson & Moore 1990, "Optimal control: linear quadratic methods", chapters 2 and 3 (time-varying regulator, tracking).

Axis legend: T control steps, D = 44 deviations, A = 23 actions, B walkers.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from dataset.rotation import from_rotation_vector, multiply, to_matrix
from sim.gait.environment import ACTION_SIZE, GaitEnvironment
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import Expert
from sim.gait.features import heading
from sim.gait.segments import NUM_COORDINATES, NUM_QVEL

DEVIATION_SIZE = 3 + 1 + NUM_COORDINATES + NUM_QVEL
"""Rotation of the pelvis about the world's axes, height, joint angles; velocity in its heading's frame, spin, joint rates."""
LIMIT = 2.0
"""Largest action of the regulator."""
_TILT, _HEADING, _HEIGHT, _JOINTS = slice(0, 2), 2, 3, slice(4, 4 + NUM_COORDINATES)
_VELOCITY, _SPIN, _RATES = slice(21, 24), slice(24, 27), slice(27, 27 + NUM_COORDINATES)


@dataclass(frozen=True, kw_only=True)
class RegulatorConfig:
    """Costs of the regulator and how it is found."""

    frames: int = 200
    """Control steps from the trial's first frame on that are linearised; cut to the trial's length."""
    nudge: float = 0.02
    """Perturbation of angles [rad], height [m] and actions; velocities take ten times as much [rad/s, m/s]. Large enough to look
    past single contacts."""
    blur: float = 0.03
    """Standard deviation of the blur over the gait phase [cycles]."""
    tilt_cost: float = 60.0
    """Q of the pelvis's tilt [rad⁻²]."""
    heading_cost: float = 30.0
    """Q of its heading [rad⁻²], where observations show it."""
    height_cost: float = 300.0
    """Q of its height [m⁻²]."""
    joint_cost: float = 30.0
    """Q of the joint angles [rad⁻²]."""
    velocity_cost: float = 5.0
    """Q of the pelvis's velocity [s²/m²]."""
    spin_cost: float = 0.1
    """Q of its angular velocity [s²/rad²]."""
    rate_cost: float = 0.01
    """Q of the joint velocities [s²/rad²]."""
    target_cost: float = 0.3
    """R of the equilibrium angles [per squared unit of action]."""
    residual_cost: float = 30.0
    """R of the residual wrench [per squared unit of action]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Regulator:
    """a = action[t] + gain[t] (e − deviation[t]) in the step from frame t to t + 1."""

    deviation: np.ndarray
    """ē, deviation of the states that it is linearised about: the measured ones, feet raised out of the ground, shape (T, D)."""
    action: np.ndarray
    """ā, shape (T, A)."""
    gain: np.ndarray
    """K, shape (T, A, D)."""

    def act(self, frame: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """Actions (B, A), within ± `LIMIT`, of walkers at frames (B,) with deviations (B, D); the last gain serves to the end."""
        frame = np.minimum(frame, len(self.action) - 1)
        change = np.einsum("bad,bd->ba", self.gain[frame], deviation - self.deviation[frame])
        return np.clip(self.action[frame] + change, -LIMIT, LIMIT)


def deviation(expert: Expert, frame: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """How states deviate from the measured motion, whatever their horizontal position, shape (B, D).

    Args:
        expert: The measured walk.
        frame: Frames that the states are compared with, shape (B,).
        qpos: Generalised positions, shape (B, 24).
        qvel: Generalised velocities, shape (B, 23).
    """
    wanted, speed = expert.qpos[frame], expert.qvel[frame]
    rot, measured = to_matrix(qpos[:, 3:7]), to_matrix(wanted[:, 3:7])
    turn = rot @ measured.transpose(0, 2, 1)
    axis = [turn[:, 2, 1] - turn[:, 1, 2], turn[:, 0, 2] - turn[:, 2, 0], turn[:, 1, 0] - turn[:, 0, 1]]
    velocity = np.einsum("bji,bj->bi", heading(rot), qvel[:, :3])
    velocity -= np.einsum("bji,bj->bi", heading(measured), speed[:, :3])
    return np.concatenate(
        [
            0.5 * np.stack(axis, axis=1), (qpos - wanted)[:, 2:3], (qpos - wanted)[:, 7:], velocity, (qvel - speed)[:, 3:],
        ],
        axis=1,
    )  # fmt: skip


def find_regulator(expert: Expert, environment: EnvironmentConfig, config: RegulatorConfig | None = None) -> Regulator:
    """The regulator of a whole trial.

    Args:
        expert: The measured walk.
        environment: Body, contact, targets and residual.
        config: Costs; None for the defaults.

    Raises:
        FloatingPointError: a perturbed step that the engine gave up.
    """
    config = config or RegulatorConfig()
    if environment.is_heading_free:
        config = dataclasses.replace(config, heading_cost=0.0)
    steps = expert.num_frames - 2
    whole = dataclasses.replace(environment, episode_steps=expert.num_frames, stray_limit=None, fall_margin=math.inf)
    copies = GaitEnvironment(expert, whole, num_envs=1 + 2 * (DEVIATION_SIZE + ACTION_SIZE))
    try:
        qpos = _starts(copies, steps + 1)
        linear = [
            _linearise(copies, t, qpos[t], expert.qvel[t], config.nudge) for t in range(min(config.frames, steps))
        ]
    finally:
        copies.close()
    at = np.arange(steps + 1)
    along = deviation(expert, at, qpos, expert.qvel[: steps + 1])
    weights = _phase_weights(expert.phase[:steps], expert.phase[: len(linear)], config.blur)
    forward, push, reached = (np.tensordot(weights, np.stack(part), axes=1) for part in zip(*linear))
    gain, action = _riccati(forward, push, reached, along, config)
    if environment.is_heading_free:
        gain[..., _HEADING] = 0.0
    return Regulator(deviation=along[:-1], action=action, gain=gain)


def _phase_weights(phase: np.ndarray, known: np.ndarray, blur: float) -> np.ndarray:
    """Weights of frames with `known` phases (N,) for frames with phases (T,), nearer in phase being heavier, shape (T, N)."""
    apart = np.abs(phase[:, None] - known[None, :])
    apart = np.minimum(apart, 1.0 - apart)
    # Relative to the nearest, so that a phase far from all known ones still has weights.
    weights = np.exp(-0.5 * (np.square(apart) - np.square(apart.min(axis=1, keepdims=True))) / blur**2)
    return weights / weights.sum(axis=1, keepdims=True)


def _starts(environment: GaitEnvironment, count: int) -> np.ndarray:
    """Measured positions as episodes start from them, feet raised out of the ground, shape (count, 24)."""
    found = []
    for first in range(0, count, environment.num_envs):
        frames = np.minimum(first + np.arange(environment.num_envs), count - 1)
        environment.reset_at(frames)
        found.append(environment.qpos.copy())
    return np.concatenate(found)[:count]


def _linearise(
    copies: GaitEnvironment, frame: int, qpos: np.ndarray, qvel: np.ndarray, nudge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (D, D), B (D, A) of one control step about a state, and the deviation (D,) that it leads to without action."""
    expert, size = copies.expert, DEVIATION_SIZE
    count = copies.num_envs
    states, rates, actions = np.tile(qpos, (count, 1)), np.tile(qvel, (count, 1)), np.zeros((count, ACTION_SIZE))
    for sign, first in ((1.0, 1), (-1.0, 1 + size + ACTION_SIZE)):
        row = first + np.arange(size)
        states[row[: _HEADING + 1], 3:7] = multiply(from_rotation_vector(sign * nudge * np.eye(3)), qpos[3:7])
        states[row[_HEIGHT], 2] += sign * nudge
        states[row[_JOINTS], 7 + np.arange(NUM_COORDINATES)] += sign * nudge
        rates[row[_VELOCITY.start :], np.arange(NUM_QVEL)] += sign * 10.0 * nudge
        actions[first + size + np.arange(ACTION_SIZE), np.arange(ACTION_SIZE)] += sign * nudge
    here = np.full(count, frame)
    copies.reset_to(here, states, rates)
    before = deviation(expert, here, states, rates)
    copies.step(actions)
    record = copies.last
    assert record is not None
    if not record.is_sound.all():
        raise FloatingPointError(f"frame {frame}: expected steps that the engine can make; use a smaller nudge")
    after = deviation(expert, here + 1, record.qpos[:, -1], record.qvel[:, -1])
    half = 1 + size + ACTION_SIZE
    change, cause = after[1:half] - after[half:], before[1 : 1 + size] - before[half : half + size]
    return np.linalg.solve(cause, change[:size]).T, change[size:].T / (2.0 * nudge), after[0]


def _riccati(
    forward: np.ndarray, push: np.ndarray, reached: np.ndarray, along: np.ndarray, config: RegulatorConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Feedback K (T, A, D) and actions (T, A) that least cost.

    Args:
        forward: A of every step, shape (T, D, D).
        push: B, shape (T, D, A).
        reached: Deviation that a step from `along` leads to without action, shape (T, D).
        along: Deviations that the steps are linear about, shape (T + 1, D).
        config: Costs.
    """
    cost = np.empty(DEVIATION_SIZE)
    cost[_TILT], cost[_HEADING] = config.tilt_cost, config.heading_cost
    cost[_HEIGHT], cost[_JOINTS] = config.height_cost, config.joint_cost
    cost[_VELOCITY], cost[_SPIN], cost[_RATES] = config.velocity_cost, config.spin_cost, config.rate_cost
    price = np.full(ACTION_SIZE, config.target_cost)
    price[NUM_COORDINATES:] = config.residual_cost
    steps = len(forward)
    gain, action = np.empty((steps, ACTION_SIZE, DEVIATION_SIZE)), np.empty((steps, ACTION_SIZE))
    value, slope = np.diag(cost), cost * along[-1]
    for t in reversed(range(steps)):
        slope = slope + value @ (reached[t] - along[t + 1])
        curved = np.diag(price) + push[t].T @ value @ push[t]
        mixed = push[t].T @ value @ forward[t]
        solved = np.linalg.solve(curved, np.column_stack([push[t].T @ slope, mixed]))
        action[t], gain[t] = -solved[:, 0], -solved[:, 1:]
        slope = cost * along[t] + forward[t].T @ slope + mixed.T @ action[t]
        value = np.diag(cost) + forward[t].T @ value @ forward[t] + mixed.T @ gain[t]
        value = 0.5 * (value + value.T)
    return gain, action
