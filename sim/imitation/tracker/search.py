"""Receding-horizon search for servo-target offsets that make the humanoid follow a reference.

Every knot time (1/15 s) the offsets of the next horizon are searched: samples around the plan are rolled out from the present
state, a damped Gauss-Newton step is taken in the space they span (`tracker.sampled_gauss_newton`), and again with narrower
samples around the result. Then one knot of the plan is executed and the plan shifts by a knot. Knot offsets are linear in
between and continuous. No sample is ever executed, so the noise of the search does not reach the servos.

Offsets are rounded to `QUANTUM` before they are executed and the solver's warm start is carried along, so that the stored
sequence replays as one long roll-out bit for bit.

Axis legend: B samples, K substeps, D = 25 searched degrees of freedom, N = 24 bodies.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import mujoco
import numpy as np
from mujoco import rollout

from dataset.rotation import to_rotation_vector
from dataset.skeleton import FEET, GRAVITY, NUM_BODIES, PARENTS
from sim.humanoid import NUM_QPOS, Humanoid
from sim.imitation.tracker.clearance import penetration_depths
from sim.imitation.tracker.config import SearchConfig, pose_weights, searched_columns
from sim.imitation.tracker.limits import clearance_capsules, joint_ranges
from sim.imitation.tracker.reference import ReferenceTrajectory
from sim.imitation.tracker.residuals import LOST, num_residuals, rollout_residuals
from sim.imitation.tracker.sampled_gauss_newton import damped_steps
from sim.imitation.tracker.servo_targets import fill_controls
from sim.imitation.tracker.steps import StepByStep
from sim.imitation.tracker.whole_body import whole_body_state

CONTACT_SENSOR_WIDTH = 9
"""Numbers a contact sensor returns: force, torque, position."""


@dataclass(frozen=True, eq=False)
class Moment:
    """Everything the physics needs to go on bit for bit."""

    state: np.ndarray
    """Physics state (time, qpos, qvel), shape (175,)."""
    warmstart: np.ndarray
    """Accelerations the constraint solver starts from, shape (75,)."""

    @property
    def qpos(self) -> np.ndarray:
        """Generalised positions, shape (99,)."""
        return self.state[1 : 1 + NUM_QPOS]

    @property
    def qvel(self) -> np.ndarray:
        """Generalised velocities, shape (75,)."""
        return self.state[1 + NUM_QPOS :]


@dataclass(frozen=True, eq=False)
class Window:
    """A horizon."""

    first: int
    """Its first planning substep."""
    steps: int
    """Its planning substeps."""
    knots: int
    """Its knots."""
    checks: np.ndarray
    """Substeps of its checkpoints."""


@dataclass(frozen=True, eq=False)
class _Found:
    """What roll-outs came to."""

    residual: np.ndarray
    """Residuals, shape (B, M)."""
    cost: np.ndarray
    """Their squares' sum, shape (B,)."""


@dataclass(eq=False)
class Tracker(StepByStep):
    """Search state for one clip on one humanoid.

    Plans are made with a coarser physics step (and a cheaper contact solver) than they are executed with: execution is
    a hundredth of the work, and its step decides how well the record keeps momentum.
    """

    humanoid: Humanoid
    """Executing humanoid."""
    reference: ReferenceTrajectory
    """Reference at the executing humanoid's physics step."""
    base: np.ndarray
    """Its servo targets before any offset (`tracker.feedforward.base_targets`) [rad], shape (K, 69)."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """Settings."""

    def __post_init__(self) -> None:
        body = self.humanoid.body
        self.columns, self.widths = searched_columns()
        self.execute_steps = round(self.search.knot_time / self.reference.substep)
        self.knot_steps = round(self.search.knot_time / self.search.planning_substep)
        self.stride = self.execute_steps // self.knot_steps
        if self.stride * self.knot_steps != self.execute_steps or self.stride < 1:
            raise ValueError(
                f"SearchConfig.planning_substep: expected a multiple of the humanoid's {self.reference.substep} s, "
                f"got {self.search.planning_substep} s"
            )
        self.num_knots = (self.reference.num_samples - 1) // self.execute_steps
        self.planning = ReferenceTrajectory(
            self.reference.qpos[:: self.stride], self.reference.qvel[:: self.stride], self.reference.qacc[:: self.stride],
            self.search.planning_substep,
        )  # fmt: skip
        self.planning_base = self.base[:: self.stride]
        self.body_weight = float(body.mass.sum() * GRAVITY)
        self.soft_lag = max(1, round(0.02 / self.search.planning_substep))
        self.arrays = (
            self.humanoid.quat_address, self.humanoid.omega_address, np.array(PARENTS), body.offset, body.mass, body.com,
            body.inertia,
        )  # fmt: skip
        self.ends, self.radius, self.pairs = clearance_capsules(body)
        self._prepare_reference()
        self.planning_model = copy.copy(self.humanoid.model)
        self.planning_model.opt.timestep = self.search.planning_substep
        # An unstable sample must end in NaN, which counts as lost, not in a reset to the rest pose, which might look good.
        self.planning_model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        if self.search.planning_sweeps:
            self.planning_model.opt.solver = mujoco.mjtSolver.mjSOL_PGS
            self.planning_model.opt.iterations = self.search.planning_sweeps
        self.data = mujoco.MjData(self.humanoid.model)
        self.rollout = rollout.Rollout(nthread=1)

    def _prepare_reference(self) -> None:
        count = self.planning.num_samples
        self.ref_pos, self.ref_rot = np.zeros((count, NUM_BODIES, 3)), np.zeros((count, NUM_BODIES, 4))
        self.ref_summary, self.ref_depth = np.zeros((count, 9)), np.zeros((count, len(self.pairs)))
        self.ref_quat = self.planning.qpos[:, self.humanoid.quat_columns]
        for k in range(count):
            whole_body_state(
                self.planning.qpos[k], self.planning.qvel[k], *self.arrays, self.ref_pos[k], self.ref_rot[k],
                self.ref_summary[k],
            )  # fmt: skip
            penetration_depths(self.ref_pos[k], self.ref_rot[k], self.ends, self.radius, self.pairs, self.ref_depth[k])
        low, high = joint_ranges()
        rotvec = to_rotation_vector(self.ref_quat[:, 1:])
        self.range_low, self.range_high = np.minimum(low, rotvec), np.maximum(high, rotvec)

    def close(self) -> None:
        """Let go of a device's memory; nothing here."""

    def reference_moment(self, knot: int) -> Moment:
        """The reference's own state at a knot, with no warm start."""
        state = np.concatenate([[0.0], *self.reference.start(knot * self.execute_steps)])
        return Moment(state, np.zeros(self.humanoid.model.nv))

    def body_error(self, state: np.ndarray, knot: int) -> float:
        """Mean over the bodies of the distance from the reference [m]."""
        pos, rot, summary = np.zeros((NUM_BODIES, 3)), np.zeros((NUM_BODIES, 4)), np.zeros(9)
        whole_body_state(state[1:100], state[100:175], *self.arrays, pos, rot, summary)
        return float(np.linalg.norm(pos - self.ref_pos[knot * self.knot_steps], axis=1).mean())

    def _roll(self, model: mujoco.MjModel, moment: Moment, controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = controls.shape[0]
        return self.rollout.rollout(
            model, [self.data], np.repeat(moment.state[None], count, axis=0), controls,
            initial_warmstart=np.repeat(moment.warmstart[None], count, axis=0),
        )  # fmt: skip

    def plan(
        self,
        moment: Moment,
        knot: int,
        held: np.ndarray,
        warm: np.ndarray,
        rng: np.random.Generator,
        search: SearchConfig,
    ) -> np.ndarray:
        """Search the knot offsets of the horizon that starts at `knot`.

        Args:
            moment: Where the simulation is now.
            knot: Knot of the clip.
            held: Offset in force now [rad], shape (D,).
            warm: Offsets to start from, shape (knots, D).
            rng: Source of samples.
            search: Settings (a retry may search harder).

        Returns:
            The best offsets found, shape (knots, D).
        """
        window = self._window(knot, search)
        knots, sigma = window.knots, self.widths * search.width_scale
        offered = np.stack([warm[:knots], np.zeros((knots, len(self.columns)))])
        found = self._evaluate(moment, held, offered, window, search)
        best = int(np.argmin(found.cost))
        center, residual, cost = offered[best], found.residual[best], found.cost[best]
        tried: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        width = search.first_width
        for _ in range(search.rounds):
            sampled = center + sigma * width * rng.standard_normal((search.samples, knots, len(self.columns)))
            found = self._evaluate(moment, held, sampled, window, search)
            tried.append((sampled.reshape(search.samples, -1), found.residual, found.cost))
            samples, residuals, costs = (np.concatenate(parts) for parts in zip(*tried, strict=True))
            # Far worse samples lie beyond a contact change or a fall: their residuals say nothing about the centre's slope.
            near = costs < max(search.trusted_cost * cost, float(np.median(costs)))
            deviations, changes = samples[near] - center.reshape(1, -1), residuals[near] - residual
            steps = damped_steps(deviations, changes, residual, search.damping)
            offered = center + steps.reshape(-1, knots, len(self.columns))
            found = self._evaluate(moment, held, offered, window, search)
            best = int(np.argmin(found.cost))
            if found.cost[best] < cost:
                center, residual, cost = offered[best], found.residual[best], found.cost[best]
            if cost < search.good_cost:
                break
            width = max(width * search.width_decay, search.width_floor)
        return center

    def _window(self, knot: int, search: SearchConfig) -> Window:
        steps = min(search.knots, self.num_knots - knot) * self.knot_steps
        checks = np.unique(np.linspace(steps / search.checkpoints, steps, search.checkpoints).round().astype(np.int64))
        return Window(knot * self.knot_steps, steps, steps // self.knot_steps, checks - 1)

    def _evaluate(
        self, moment: Moment, held: np.ndarray, plans: np.ndarray, window: Window, search: SearchConfig
    ) -> _Found:
        """Roll plans of knot offsets (B, knots, D) out and compare them with the reference."""
        count, steps = len(plans), window.steps
        offsets = np.concatenate([np.repeat(held[None, None], count, axis=0), plans], axis=1)
        controls = np.zeros((count, steps, self.humanoid.model.nu))
        base = self.planning_base[window.first : window.first + steps]
        fill_controls(base, offsets, self.columns, self.knot_steps, controls)
        states, sensors = self._roll(self.planning_model, moment, controls)
        # The contact sensor reports the force of the body on the floor in its z column: the ground pushes back.
        force_z = -sensors[:, :, 2 : CONTACT_SENSOR_WIDTH * NUM_BODIES : CONTACT_SENSOR_WIDTH].sum(axis=-1)
        feet = np.array([*FEET[0], *FEET[1]])
        at = window.first + window.checks + 1
        simulated = np.zeros((count, num_residuals(len(at), len(feet), len(self.pairs), steps, self.soft_lag)))
        rollout_residuals(
            states, force_z, window.checks, self.soft_lag, search.weights.vector(), pose_weights(), self.body_weight, feet,
            *self.arrays, self.range_low[at], self.range_high[at], self.ends, self.radius, self.pairs, self.ref_pos[at],
            self.ref_rot[at], self.ref_quat[at], self.ref_summary[at], self.ref_depth[at], simulated,
        )  # fmt: skip
        # At any warning the engine stops a sample and repeats its state: a finite pose that nobody simulated.
        behind = moment.state[0] + steps * self.planning.substep - states[:, -1, 0]
        simulated[~(np.abs(behind) < 0.5 * self.planning.substep)] = LOST
        scaled = offsets / (self.widths * search.width_scale)
        factor = 1.0 / np.sqrt(plans[0].size)
        size = np.sqrt(search.weights.offset_size) * factor * scaled[:, 1:].reshape(count, -1)
        rate = np.sqrt(search.weights.offset_rate) * factor * np.diff(scaled, axis=1).reshape(count, -1)
        residual = np.concatenate([simulated, size, rate], axis=1)
        return _Found(residual, np.sum(residual * residual, axis=1))

    def execute(self, moment: Moment, knot: int, held: np.ndarray, target: np.ndarray) -> Moment:
        """Apply one knot of offsets; returns where the simulation is at the next knot."""
        first = knot * self.execute_steps
        controls = np.zeros((1, self.execute_steps, self.humanoid.model.nu))
        offsets = np.stack([held, target])[None]
        fill_controls(
            self.base[first : first + self.execute_steps], offsets, self.columns, self.execute_steps, controls
        )
        states, _ = self._roll(self.humanoid.model, moment, controls)
        state = states[0, -1].copy()
        if any(item.number for item in self.data.warning):
            # The engine stopped or was reset: what follows is not this motion, and NaN makes the search go back.
            state[:] = np.nan
        return Moment(state, self.data.qacc_warmstart.copy())
