"""Receding-horizon cross-entropy search for servo-target offsets that make the humanoid follow a reference.

Every knot time (1/15 s) the offsets of the next horizon are searched: samples around the mean are rolled out from the present
state, the elites' log-weighted mean becomes the next mean, the width shrinks. Then the MEAN is executed for one knot (the best
sample is half as smooth again) and the plan shifts by a knot. Knot offsets are linear in between and continuous.

Offsets are rounded to `QUANTUM` before they are executed and the solver's warm start is carried along, so that the stored
sequence replays as one long roll-out bit for bit.

Axis legend: B samples, K substeps, D = 27 searched degrees of freedom, N = 24 bodies.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import mujoco
import numpy as np
from mujoco import rollout

from dataset.skeleton import FEET, GRAVITY, NUM_BODIES, PARENTS
from sim.humanoid import Humanoid
from sim.imitation.tracker.config import SearchConfig, pose_weights, searched_columns
from sim.imitation.tracker.cost import fill_controls, penetration_depths, rollout_costs, whole_body_state
from sim.imitation.tracker.feedforward import base_targets, feedforward_torque, rotation_vector
from sim.imitation.tracker.limits import clearance_capsules, joint_ranges
from sim.imitation.tracker.reference import ReferenceTrajectory

QUANTUM = 2.0**-13
"""Executed offsets are whole multiples of this [rad], so that they can be stored as 16-bit integers."""
CONTACT_SENSOR_WIDTH = 9
"""Numbers a contact sensor returns: force, torque, position."""


@dataclass(frozen=True, eq=False)
class Moment:
    """Everything the physics needs to go on bit for bit."""

    state: np.ndarray
    """Physics state (time, qpos, qvel), shape (175,)."""
    warmstart: np.ndarray
    """Accelerations the constraint solver starts from, shape (75,)."""


@dataclass(eq=False)
class Tracker:
    """Search state for one clip on one humanoid.

    Samples are planned with a coarser physics step (and a cheaper contact solver) than the mean is executed with: execution is
    a hundredth of the work, and its step decides how well the record keeps momentum.
    """

    humanoid: Humanoid
    """Executing humanoid."""
    reference: ReferenceTrajectory
    """Reference at the executing humanoid's physics step."""
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
        self.base = base_targets(self.humanoid, self.reference, feedforward_torque(self.humanoid, self.reference))
        self.planning = ReferenceTrajectory(
            self.reference.qpos[:: self.stride], self.reference.qvel[:: self.stride], self.reference.qacc[:: self.stride],
            self.search.planning_substep,
        )  # fmt: skip
        self.planning_base = self.base[:: self.stride]
        self.body_weight = float(body.mass.sum() * GRAVITY)
        self.arrays = (
            self.humanoid.quat_address, self.humanoid.omega_address, np.array(PARENTS), body.offset, body.mass, body.com,
            body.inertia,
        )  # fmt: skip
        self.ends, self.radius, self.pairs = clearance_capsules(body)
        self._prepare_reference()
        self.planning_model = copy.copy(self.humanoid.model)
        self.planning_model.opt.timestep = self.search.planning_substep
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
        rotvec = rotation_vector(self.ref_quat[:, 1:])
        self.range_low, self.range_high = np.minimum(low, rotvec), np.maximum(high, rotvec)

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
            warm: Mean to start from, shape (knots, D).
            rng: Source of samples.
            search: Settings (a retry may search harder).

        Returns:
            Mean offsets after the last iteration, shape (knots, D).
        """
        first = knot * self.knot_steps
        steps = min(search.knots, self.num_knots - knot) * self.knot_steps
        knots = steps // self.knot_steps
        sigma = self.widths * search.width_scale
        width = np.repeat(sigma[None], knots, axis=0)
        mean, best = warm[:knots].copy(), np.zeros((knots, len(self.columns)))
        checks = (
            np.unique(np.linspace(steps / search.checkpoints, steps, search.checkpoints).round().astype(np.int64)) - 1
        )
        at = first + checks + 1
        soft_lag = max(1, round(0.02 / self.planning.substep))
        num_elites = max(2, round(search.elite_share * search.samples))
        elite_weights = np.log(num_elites + 0.5) - np.log(np.arange(1, num_elites + 1))
        elite_weights /= elite_weights.sum()
        offsets = np.zeros((search.samples, knots + 1, len(self.columns)))
        offsets[:, 0] = held
        controls = np.zeros((search.samples, steps, self.humanoid.model.nu))
        cost = np.zeros(search.samples)
        for _ in range(search.iterations):
            offsets[:, 1:] = mean + width * rng.standard_normal((search.samples, knots, len(self.columns)))
            offsets[0, 1:], offsets[1, 1:] = mean, best
            fill_controls(self.planning_base[first : first + steps], offsets, self.columns, self.knot_steps, controls)
            states, sensors = self._roll(self.planning_model, moment, controls)
            # The contact sensor reports the force of the body on the floor in its z column: the ground pushes back.
            force_z = -sensors[:, :, 2 : CONTACT_SENSOR_WIDTH * NUM_BODIES : CONTACT_SENSOR_WIDTH].sum(axis=-1)
            rollout_costs(
                states, force_z, offsets, checks, soft_lag, search.weights.vector(), pose_weights(), sigma,
                self.body_weight, np.array([*FEET[0], *FEET[1]]), *self.arrays, self.range_low[at], self.range_high[at],
                self.ends, self.radius, self.pairs, self.ref_pos[at], self.ref_rot[at], self.ref_quat[at],
                self.ref_summary[at], self.ref_depth[at], cost,
            )  # fmt: skip
            elites = np.argsort(cost, kind="stable")[:num_elites]
            best = offsets[elites[0], 1:].copy()
            mean = np.tensordot(elite_weights, offsets[elites, 1:], axes=1)
            width = np.maximum(width * search.width_decay, search.width_floor * sigma)
        return mean

    def execute(self, moment: Moment, knot: int, held: np.ndarray, target: np.ndarray) -> Moment:
        """Apply one knot of offsets; returns where the simulation is at the next knot."""
        first = knot * self.execute_steps
        controls = np.zeros((1, self.execute_steps, self.humanoid.model.nu))
        offsets = np.stack([held, target])[None]
        fill_controls(
            self.base[first : first + self.execute_steps], offsets, self.columns, self.execute_steps, controls
        )
        states, _ = self._roll(self.humanoid.model, moment, controls)
        return Moment(states[0, -1].copy(), self.data.qacc_warmstart.copy())
