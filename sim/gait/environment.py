"""The gait environment: many walkers at once, stepped by the thread pool of `mujoco.rollout`.

Contract with a learner: `num_envs`, `observation_size`, `action_size`, `reset(seed) -> obs (B, O)` and `step(action (B, A)) ->
(obs, reward, terminated, truncated, info)`, NumPy float32 and bool; environments that ended start anew at once and
`info["final_observation"]` (B, O) holds what was seen before that.

The same seed and actions give the same numbers, whatever the number of threads.

Axis legend: B environments, S substeps, F = 2 feet (left, right).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import mujoco
import mujoco.rollout
import numpy as np

from dataset.lab.plates import center_of_pressure
from dataset.rotation import from_matrix
from sim.gait.environment_config import EnvironmentConfig
from sim.gait.expert_file import Expert
from sim.gait.features import OBSERVATION_SIZE, motion_features, observe
from sim.gait.kinematics import place
from sim.gait.model import CONTACT_WIDTH, GaitModel, make_gait_model
from sim.gait.rewards import MotionFeatures, cop_error, grf_error, kinematic_reward, kinematic_terms
from sim.gait.segments import FEET, NUM_COORDINATES, NUM_QPOS, NUM_QVEL

ACTION_SIZE = NUM_COORDINATES + 6
"""Equilibrium angles (17) and residual wrench (6)."""
_NUM_STATE = 1 + NUM_QPOS + NUM_QVEL
_CONTROL = int(mujoco.mjtState.mjSTATE_CTRL) | int(mujoco.mjtState.mjSTATE_QFRC_APPLIED)
_CLOCK_START = 1.0  # an automatic reset by MuJoCo sets the clock to zero: it must show


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What happened in one control step, before any reset."""

    qpos: np.ndarray
    """States at the beginning and after every substep, shape (B, S + 1, 24)."""
    qvel: np.ndarray
    """Their velocities, shape (B, S + 1, 23)."""
    torque: np.ndarray
    """Joint torque that acted in every substep [N·m], shape (B, S, 17)."""
    ground: np.ndarray
    """Force [N] and moment about the world origin [N·m] of the ground on each foot, world, shape (B, S, F, 6)."""
    residual: np.ndarray
    """Residual wrench held over the step: force [N] in the world, moment [N·m] in the pelvis's axes, shape (B, 6)."""
    frame: np.ndarray
    """Expert frame at the end of the step, shape (B,)."""
    is_sound: np.ndarray
    """False where the engine warned, shape (B,)."""


class GaitEnvironment:
    """Walkers that imitate one expert."""

    def __init__(
        self, expert: Expert, config: EnvironmentConfig | None = None, *, num_envs: int = 64, num_threads: int = 1
    ) -> None:
        """Compile the model and prepare the expert.

        Args:
            expert: The measured walk.
            config: Settings; None for the paper's.
            num_envs: Environments B.
            num_threads: Threads that step them.

        Raises:
            ValueError: counts below 1, a control rate that is not the expert's, an expert without the forces that the weights
                ask for, or settings that contradict each other.
        """
        config = config or EnvironmentConfig()
        _check(expert, config, num_envs, num_threads)
        self.config, self.expert = config, expert
        self.num_envs, self.observation_size, self.action_size = num_envs, OBSERVATION_SIZE, ACTION_SIZE
        self.gait: GaitModel = make_gait_model(expert.body, config.physics)
        self.residual_factor = 1.0
        """Multiplies the residual wrench of every action: 0 takes it away (to anneal it)."""
        self.last: StepRecord | None = None
        """Record of the last step."""
        self._data = [mujoco.MjData(self.gait.model) for _ in range(num_threads)]
        self._pool = mujoco.rollout.Rollout(nthread=num_threads if num_threads > 1 else 0)
        self._prepare_expert()
        self._random = np.random.default_rng(0)
        self._state = np.zeros((num_envs, _NUM_STATE))
        self._frame = np.zeros(num_envs, dtype=np.int64)
        self._age = np.zeros(num_envs, dtype=np.int64)

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()

    def _prepare_expert(self) -> None:
        """Everything of the expert that a step compares with, by frame."""
        expert, kinetic = self.expert, self.config.reward.kinetic
        features, line, facing = motion_features(expert.body, expert.qpos, expert.qvel)
        self._features = self._compared(features, facing)
        clip = np.linspace(0.0, 1.0, expert.num_frames)
        self._phase = expert.phase if self.config.phase == "cycle" else clip
        self._middle = expert.qpos[:, 7:].mean(axis=0)
        self._lowest = float(expert.qpos[:, 2].min()) - self.config.fall_margin
        # Index t: the interval that ends at frame t.
        wrench = np.concatenate([np.full((1, 2, 6), np.nan), expert.wrench])
        self._force = wrench[..., :3]
        cop = center_of_pressure(wrench, lowest=kinetic.force_threshold)
        self._loaded = np.nan_to_num(wrench[..., 2]) > kinetic.force_threshold
        self._cop = line.along(cop) if kinetic.cop_frame == "foot" else cop[..., 0] - expert.qpos[:, None, 0]

    def _compared(self, features: MotionFeatures, facing: np.ndarray) -> MotionFeatures:
        """Features as rewards compare them: the pelvis's orientation with its heading where that counts."""
        return features if self.config.is_heading_free else dataclasses.replace(features, tilt=facing @ features.tilt)

    def reset(self, seed: int) -> np.ndarray:
        """Start all environments at random frames of the expert; the seed fixes all that follows.

        Returns:
            Observations, shape (B, 46), float32.
        """
        self._random = np.random.default_rng(seed)
        return self.reset_at(self._random_frames(self.num_envs))

    def reset_at(self, frames: np.ndarray) -> np.ndarray:
        """Start the environments at given frames of the expert, shape (B,).

        Raises:
            ValueError: wrong shape or a frame that has no next one.
        """
        if frames.shape != (self.num_envs,) or frames.min() < 0 or frames.max() > self.expert.num_frames - 2:
            raise ValueError(
                f"frames: expected shape ({self.num_envs},) with values in [0, {self.expert.num_frames - 2}], got {frames.shape} "
                f"with {frames.min()} to {frames.max()}"
            )
        self._place(np.arange(self.num_envs), frames)
        return self._observe()

    def reset_to(self, frames: np.ndarray, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """Start the environments in given states: frames (B,) of the expert, positions (B, 24), velocities (B, 23).

        Raises:
            ValueError: as `reset_at`, or states of another shape.
        """
        self.reset_at(frames)
        if qpos.shape != self.qpos.shape or qvel.shape != self.qvel.shape:
            raise ValueError(
                f"states: expected shapes {self.qpos.shape} and {self.qvel.shape}, got {qpos.shape} and {qvel.shape}"
            )
        self._state[:, 1 : 1 + NUM_QPOS], self._state[:, 1 + NUM_QPOS :] = qpos, qvel
        return self._observe()

    def _random_frames(self, count: int) -> np.ndarray:
        return self._random.integers(0, self.expert.num_frames - 1, size=count)

    def _place(self, which: np.ndarray, frames: np.ndarray) -> None:
        qpos = self.expert.qpos[frames].copy()
        placement = place(self.gait.body, qpos)
        corners = [placement.points(np.full(4, s), self.gait.body.soles[f].corners) for f, s in enumerate(FEET)]
        lowest = np.concatenate(corners, axis=1)[..., 2].min(axis=1)
        qpos[:, 2] += np.maximum(0.0, -self.config.deepest_start - lowest)
        self._state[which, 0] = _CLOCK_START
        self._state[which, 1 : 1 + NUM_QPOS] = qpos
        self._state[which, 1 + NUM_QPOS :] = self.expert.qvel[frames]
        self._frame[which], self._age[which] = frames, 0

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions now, shape (B, 24)."""
        return self._state[:, 1 : 1 + NUM_QPOS]

    @property
    def qvel(self) -> np.ndarray:
        """Generalised velocities now, shape (B, 23)."""
        return self._state[:, 1 + NUM_QPOS :]

    @property
    def frame(self) -> np.ndarray:
        """Expert frame of every environment, shape (B,)."""
        return self._frame.copy()

    def state(self) -> dict[str, np.ndarray]:
        """Everything that decides what the next steps return, the random generator included."""
        generator = json.dumps(self._random.bit_generator.state).encode()
        return {
            "physics": self._state.copy(), "frame": self._frame.copy(), "age": self._age.copy(),
            "residual_factor": np.array([self.residual_factor]), "random": np.frombuffer(generator, dtype=np.uint8).copy(),
        }  # fmt: skip

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from the `state` of an environment made in the same way.

        Raises:
            ValueError: the state is of another number of environments, or lacks a part.
        """
        for name, shape in (("physics", self._state.shape), ("frame", self._frame.shape), ("age", self._age.shape)):
            found = np.shape(state[name]) if name in state else None
            if found != shape:
                raise ValueError(
                    f"state: {name}: expected shape {shape}, got {found}; give the state of the same environment"
                )
        self._state[:] = state["physics"]
        self._frame[:], self._age[:] = state["frame"], state["age"]
        self.residual_factor = float(state["residual_factor"][0])
        self._random.bit_generator.state = json.loads(state["random"].tobytes())

    def _observe(self) -> np.ndarray:
        features, _, _ = motion_features(self.gait.body, self.qpos, self.qvel)
        return self._observation(features)

    def _observation(self, features: MotionFeatures) -> np.ndarray:
        quat = from_matrix(features.tilt) if self.config.is_heading_free else self.qpos[:, 3:7]
        return observe(features, self.qpos, self.qvel, self._phase[self._frame], quat)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """One control step of all environments.

        Args:
            action: Equilibrium angles and residual wrench in units of their scales, shape (B, 23).

        Returns:
            Observations (B, 46) after autoreset, rewards (B,), terminated (B,), truncated (B,), and info, each (B,):
            `kinematic`, `grf`, `cop` (rewards), the five terms of `kinematic`, `grf_error` and `cop_error` (|Δ|² of equations
            5 and 6), `residual_force` [N] and `residual_moment` [N·m], `final_observation` (B, 46). Where the expert's forces
            are unknown `grf` and `cop` are NaN.

        Raises:
            ValueError: wrong shape or a value that is not finite.
        """
        if action.shape != (self.num_envs, ACTION_SIZE) or not np.isfinite(action).all():
            raise ValueError(
                f"action: expected finite values of shape ({self.num_envs}, {ACTION_SIZE}), got {action.shape}"
            )
        action = action.astype(np.float64)
        self._frame += 1
        self._age += 1
        record = self._simulate(action)
        self.last = record
        self._state[:, 1 : 1 + NUM_QPOS] = record.qpos[:, -1]
        self._state[:, 1 + NUM_QPOS :] = record.qvel[:, -1]
        reward, info, features = self._reward(record, action)
        terminated = (self.qpos[:, 2] < self._lowest) | ~record.is_sound
        if self.config.stray_limit is not None:
            terminated |= features.farthest_from(self._features.end_effector[self._frame]) > self.config.stray_limit
        truncated = (self._frame >= self.expert.num_frames - 1) | (self._age >= self.config.episode_steps)
        truncated &= ~terminated
        observation = self._observation(features)
        info["final_observation"] = observation
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            self._place(ended, self._random_frames(len(ended)))
            fresh, _, _ = motion_features(self.gait.body, self.qpos[ended], self.qvel[ended])
            observation = observation.copy()
            quat = from_matrix(fresh.tilt) if self.config.is_heading_free else self.qpos[ended, 3:7]
            observation[ended] = observe(
                fresh, self.qpos[ended], self.qvel[ended], self._phase[self._frame[ended]], quat
            )
        return observation, reward.astype(np.float32), terminated, truncated, info

    def equilibrium(self, action: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """Equilibrium angles ψ_eq [rad] of actions (B, 23) in a step that ends at expert frames (B,), shape (B, 17)."""
        if self.config.target == "absolute":
            base = self._middle
        else:
            base = self.expert.qpos[frame, 7:]
            if self.config.is_damping_led:
                base = base + self.gait.damping / self.gait.stiffness * self.expert.qvel[frame, 6:]
        return base + self.config.target_scale * action[:, :NUM_COORDINATES]

    def _simulate(self, action: np.ndarray) -> StepRecord:
        """Hold equilibrium angles and residual over the substeps."""
        config, count, substeps = self.config, self.num_envs, self.config.physics.substeps
        limit = config.residual_limit
        pushed = np.clip(action[:, NUM_COORDINATES:], -limit, limit) * self.residual_factor
        w, x, y, z = self.qpos[:, 3:7].T
        yaw = np.arctan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z))
        force, cosine, sine = config.residual_force_scale * pushed[:, :3], np.cos(yaw), np.sin(yaw)
        residual = np.empty((count, 6))
        residual[:, 0] = cosine * force[:, 0] - sine * force[:, 1]
        residual[:, 1] = sine * force[:, 0] + cosine * force[:, 1]
        residual[:, 2] = force[:, 2]
        residual[:, 3:] = config.residual_moment_scale * pushed[:, 3:]
        control = np.zeros((count, NUM_COORDINATES + NUM_QVEL))
        control[:, :NUM_COORDINATES] = self.equilibrium(action, self._frame)
        control[:, NUM_COORDINATES : NUM_COORDINATES + 6] = residual
        controls = np.repeat(control[:, None], substeps, axis=1)
        states = np.empty((count, substeps + 1, _NUM_STATE))
        states[:, 0] = self._state
        states[:, 0, 0] = _CLOCK_START
        after, sensors = self._pool.rollout(self.gait.model, self._data, states[:, 0], controls, control_spec=_CONTROL)
        states[:, 1:] = after
        elapsed = states[:, -1, 0] - _CLOCK_START
        is_sound = (np.abs(elapsed - config.physics.control_interval) < 0.5 * config.physics.substep) & np.isfinite(
            states[:, -1]
        ).all(axis=1)
        # A state that the engine gave up is replaced by the last one that was sound: its episode ends here.
        states[~is_sound] = states[~is_sound, :1]
        qpos, qvel = states[..., 1 : 1 + NUM_QPOS], states[..., 1 + NUM_QPOS :]
        return StepRecord(
            qpos=qpos, qvel=qvel, torque=self._acting_torque(sensors[..., 2 * CONTACT_WIDTH :], qvel),
            ground=_ground_wrench(sensors[..., : 2 * CONTACT_WIDTH]), residual=residual, frame=self._frame.copy(),
            is_sound=is_sound,
        )  # fmt: skip

    def _acting_torque(self, servo: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """τ = servo force − Kd (v⁺ − v) where the servo is not at its limit: damping acts at the end of the substep."""
        unsaturated = np.abs(servo) < self.gait.torque_limit
        return servo - unsaturated * self.gait.damping * (qvel[:, 1:, 6:] - qvel[:, :-1, 6:])

    def _reward(
        self, record: StepRecord, action: np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray], MotionFeatures]:
        config, gait, at = self.config.reward, self.gait, self._frame
        features, line, facing = motion_features(gait.body, self.qpos, self.qvel)
        wanted = MotionFeatures(
            **{name: getattr(self._features, name)[at] for name in MotionFeatures.__dataclass_fields__}
        )
        residual_action = action[:, NUM_COORDINATES:] * self.residual_factor
        terms = kinematic_terms(self._compared(features, facing), wanted, residual_action, config.kinematic)
        kinematic = kinematic_reward(terms, config.kinematic)
        wrench = record.ground.mean(axis=1)
        kinetic = config.kinetic
        error = grf_error(wrench[..., :3], self._force[at], gait.body.total_mass, gait.weight, kinetic.grf_unit)
        loaded = wrench[..., 2] > kinetic.force_threshold
        cop = center_of_pressure(wrench, lowest=kinetic.force_threshold)
        own = line.along(cop) if kinetic.cop_frame == "foot" else cop[..., 0] - self.qpos[:, None, 0]
        missed = cop_error(own, self._cop[at], loaded, self._loaded[at], 0.5 * gait.body.foot_length, kinetic)
        missed = np.where(np.isfinite(error), missed, np.nan)
        grf, cop_reward = np.exp(-kinetic.grf_gain * error), np.exp(-kinetic.cop_gain * missed)
        reward = kinematic.copy()
        if kinetic.grf_weight:
            reward += kinetic.grf_weight * grf
        if kinetic.cop_weight:
            reward += kinetic.cop_weight * cop_reward
        # A state that the engine gave up earns nothing.
        reward = np.where(record.is_sound, reward, 0.0)
        info = {
            "kinematic": kinematic, "grf": grf, "cop": cop_reward, "grf_error": error, "cop_error": missed,
            "residual_force": np.linalg.norm(record.residual[:, :3], axis=1),
            "residual_moment": np.linalg.norm(record.residual[:, 3:], axis=1), **terms,
        }  # fmt: skip
        return reward, info, features


def _ground_wrench(contact: np.ndarray) -> np.ndarray:
    """Wrench of the ground on each foot about the world origin, from the contact sensors (B, S, 2 · 9), shape (B, S, F, 6)."""
    split = contact.reshape(*contact.shape[:2], 2, CONTACT_WIDTH)
    # MuJoCo gives what the first body of the pair, the foot, does to the floor.
    force, moment = -split[..., 0:3], -split[..., 3:6]
    return np.concatenate([force, moment + np.cross(split[..., 6:9], force)], axis=-1)


def _check(expert: Expert, config: EnvironmentConfig, num_envs: int, num_threads: int) -> None:
    if num_envs < 1 or num_threads < 1:
        raise ValueError(f"environments: expected at least 1 and at least 1 thread, got {num_envs} and {num_threads}")
    interval = config.physics.control_interval
    if abs(interval * expert.rate - 1.0) > 1e-6:
        raise ValueError(
            f"expert: expected one frame a control step ({1.0 / interval:g} Hz), found {expert.rate:g} Hz; build it with "
            f"--process.rate {1.0 / interval:g}"
        )
    kinetic = config.reward.kinetic
    unknown = int((~np.isfinite(expert.wrench).all(axis=(1, 2))).sum())
    if (kinetic.grf_weight or kinetic.cop_weight) and unknown:
        raise ValueError(
            f"expert {expert.name}: forces: expected them in all {len(expert.wrench)} intervals for R^grf or "
            f"R^cop, missing in {unknown}; use a trial on an instrumented treadmill, or cut the expert"
        )
    if kinetic.cop_swing == "middle" and kinetic.cop_frame != "foot":
        raise ValueError(
            "cop_swing: expected another rule than 'middle' in the world frame, which has no middle; use cop_frame 'foot'"
        )
