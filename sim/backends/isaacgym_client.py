"""Physics by Isaac Gym: the half that lives here. The other runs in the user's own Python 3.8 (`sim.backends.isaacgym_worker`).

What its records can claim differs from MuJoCo's, and each says so in its flags:

- `isaacgym`, `float32`: states and forces are read in single precision, so the equations of motion close to 1e-6 body
  weights at best, not to 1e-14: `record_config()` asks for `MAX_CLOSURE`.
- `torque_commanded` (control `effort`): servo torques kp·(target − rotvec) − kv·ω, limited, are computed at the beginning of each
  substep and held; they are what acted, exactly. Damping is bounded as explicit torques need it
  (`isaacgym_model.explicit_damping`), so these servos are softer dampers than MuJoCo's.
- `torque_sensed` (control `position`): PhysX's drives are implicit, and its joint sensors say afterwards what they did.
- `free_moment_from_motion`: forces and centres of pressure are reported, the free moment is what the motion asks for
  (`isaacgym_ground`).

Whether that is good enough is not assumed: a transition whose equations do not close is dropped as `closure`, like everywhere.

Axis legend: E environments, K substeps, N = 24 bodies.
"""

from __future__ import annotations

import numpy as np

from dataset.skeleton import GRAVITY, NUM_BODIES
from sim.backends.contract import SubstepTrace
from sim.backends.inputs import check_controls, check_states
from sim.backends.isaacgym_coordinates import (
    Conventions,
    Order,
    from_simulator,
    measure_conventions,
    probe_state,
    to_simulator,
)
from sim.backends.isaacgym_ground import contact_centres, free_moments
from sim.backends.isaacgym_model import IsaacGymConfig, build_request, expect_properties
from sim.backends.isaacgym_process import WorkerProcess
from sim.humanoid import NUM_CTRL, NUM_QPOS, NUM_QVEL, Humanoid
from sim.record import RecordConfig

MAX_CLOSURE = 1e-3
"""Residual of the equations of motion that records of Isaac Gym may have [body weights]: just above what single precision alone
leaves in a hard landing (7e-4; standing 1e-6), a quarter of the momentum error of tracked walking at 1/240 s."""
_BOUND = 1e10  # a state beyond it has blown up; MuJoCo's bound
_START = 1.0  # clock of the first state, as in `mujoco_cpu`


def record_config() -> RecordConfig:
    """What may enter a data set from this backend: the usual, with `MAX_CLOSURE`."""
    return RecordConfig(max_closure=MAX_CLOSURE)


class IsaacGym:
    """Environments of one humanoid in Isaac Gym. Satisfies `sim.backends.contract.PhysicsBackend`.

    One world holds one number of environments: `reset` to another number starts another worker. To be closed, or used in `with`;
    a worker never outlives its host, whatever ends that.
    """

    def __init__(self, humanoid: Humanoid, config: IsaacGymConfig) -> None:
        """Start a worker, which shows at once whether the interpreter and its packages will do.

        Raises:
            ValueError: `config.python` cannot be started, is not Python 3.6 to 3.8, or lacks `isaacgym` or numpy.
            WorkerFailure: The worker ended or said nothing for `config.start_timeout`.
        """
        self._humanoid, self._config = humanoid, config
        self._worker = self._start()
        self._order: Order | None = None
        self._conventions = Conventions()
        self._state: np.ndarray | None = None
        self._built = 0

    def __enter__(self) -> IsaacGym:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    @property
    def humanoid(self) -> Humanoid:
        """Humanoid that every environment simulates."""
        return self._humanoid

    @property
    def versions(self) -> dict[str, str]:
        """Python, numpy and place of `isaacgym` in the worker."""
        return dict(self._worker.greeting)

    @property
    def pid(self) -> int:
        """Process of the present worker."""
        return self._worker.pid

    @property
    def conventions(self) -> Conventions:
        """What the simulator's numbers mean; measured by the first `reset`."""
        return self._conventions

    @property
    def flags(self) -> tuple[str, ...]:
        """What the records must say (module docstring)."""
        torque = "torque_commanded" if self._config.control == "effort" else "torque_sensed"
        return ("isaacgym", "float32", torque, "free_moment_from_motion")

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def reset(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        """Put the environments into states; their number becomes E.

        Args:
            qpos: Generalised positions, shape (E, 99).
            qvel: Generalised velocities, shape (E, 75).

        Raises:
            ValueError: Wrong shape, a value that is not finite, or an Isaac Gym whose numbers mean nothing that is known.
            WorkerFailure: The worker ended or fell silent.
        """
        check_states(qpos, qvel)
        if self._built != len(qpos):
            if self._built:
                self._worker.close()
                self._worker = self._start()
            self._build(len(qpos))
        self._put(qpos, qvel)

    def rollout(self, ctrl: np.ndarray) -> SubstepTrace:
        """Apply servo targets to all environments, from the states they are in.

        Args:
            ctrl: Servo targets [rad], shape (E, K, 69).

        Returns:
            Every substep. The environments stay in the states after the last one.

        Raises:
            ValueError: Wrong shape, a target that is not finite, or `reset` was never called.
            WorkerFailure: The worker ended or fell silent.
        """
        check_controls(self._state, ctrl)
        if not np.all(np.isfinite(ctrl)):
            raise ValueError("ctrl: expected finite targets, got NaN or infinity")
        return self._rollout(ctrl)[0]

    def _start(self) -> WorkerProcess:
        config = self._config
        return WorkerProcess(config.python, start_timeout=config.start_timeout, reply_timeout=config.reply_timeout)

    def _build(self, count: int) -> None:
        """Build a world, and find out on one substep in the air what its numbers mean."""
        try:
            built = self._worker.ask(build_request(self._humanoid, self._config, count))
            self._order = Order.of(built["bodies"], built["dofs"])
            expect_properties(self._humanoid, built["properties"])
            self._measure(count)
        except ValueError:
            self._worker.close()
            raise
        self._built = count

    def _measure(self, count: int) -> None:
        assert self._order is not None
        qpos, qvel = (np.repeat(values, count, axis=0) for values in probe_state(self._humanoid))
        self._conventions = Conventions()
        wanted, joints = self._put(qpos, qvel)
        targets = np.empty((count, 1, NUM_CTRL))
        targets[:, 0] = joints[:, self._order.dof, 0]
        _, read = self._rollout(targets, is_free=True)
        arrays, places = self._worker.share({"body": ("<f4", (count, NUM_BODIES, 13))})
        self._worker.ask({"op": "observe", **places})
        for row in range(count):
            conventions = measure_conventions(
                self._humanoid, self._order, read["root"][row, 0], read["dof"][row, 0], arrays["body"][row]
            )
            step = self._humanoid.config.substep
            moved = wanted[row, :3] + step * wanted[row, 7:10]
            angles = joints[row, :, 0] + step * joints[row, :, 1]
            off = max(
                float(np.abs(read["root"][row, 0, :3] - moved).max()),
                float(np.abs(read["dof"][row, 0, :, 0] - angles).max()),
            )
            # one substep of gravity, of turning centres and of bent axes
            if not off < step * (GRAVITY * step + 1.0):
                raise ValueError(
                    f"isaacgym: expected environment {row} one substep after the state it was put into, found it off by"
                    f" {off:.3g} (m or rad); this version of Isaac Gym does not take states over"
                )
            self._conventions = conventions

    def _put(self, qpos: np.ndarray, qvel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert self._order is not None
        root, dof = to_simulator(self._humanoid, self._conventions, self._order, qpos, qvel)
        arrays, places = self._worker.share({"root": ("<f4", root.shape), "dof": ("<f4", dof.shape)})
        arrays["root"][:], arrays["dof"][:] = root, dof
        self._worker.ask({"op": "reset", **places})
        # what the simulator holds now is rounded; the trace begins with that
        held = from_simulator(self._humanoid, self._conventions, self._order, root, dof)
        self._state = np.concatenate([np.full((len(qpos), 1), _START), *held], axis=1)
        return root, dof

    def _rollout(self, ctrl: np.ndarray, *, is_free: bool = False) -> tuple[SubstepTrace, dict[str, np.ndarray]]:
        assert self._order is not None and self._state is not None
        count, substeps = ctrl.shape[:2]
        arrays, places = self._worker.share(
            {
                "target": ("<f4", (count, substeps, NUM_CTRL)),
                "torque": ("<f4", (count, substeps, NUM_CTRL)),
                "root": ("<f4", (count, substeps, 13)),
                "dof": ("<f4", (count, substeps, NUM_CTRL, 2)),
                "force": ("<f4", (count, substeps, NUM_BODIES, 3)),
                "normal": ("<f4", (count, substeps, NUM_BODIES)),
                "point": ("<f4", (count, substeps, NUM_BODIES, 3)),
            }
        )
        arrays["target"][..., self._order.dof] = ctrl
        self._worker.ask({"op": "rollout", "is_free": is_free, **places})
        read = {name: values.copy() for name, values in arrays.items() if name != "target"}
        return self._trace(ctrl, read), read

    def _trace(self, ctrl: np.ndarray, read: dict[str, np.ndarray]) -> SubstepTrace:
        order, humanoid, step = self._order, self._humanoid, self._humanoid.config.substep
        assert order is not None and self._state is not None
        count, substeps = ctrl.shape[:2]
        state = np.empty((count, substeps + 1, 1 + NUM_QPOS + NUM_QVEL))
        state[:, 0] = self._state
        state[:, :, 0] = _START + step * np.arange(substeps + 1)
        is_bad = _is_bad(read["root"], read["dof"]), _is_bad(read["force"], read["torque"])
        for row in range(count):
            qpos, qvel = from_simulator(humanoid, self._conventions, order, read["root"][row], read["dof"][row])
            state[row, 1:, 1:] = np.concatenate([qpos, qvel], axis=1)
        self._state = state[:, -1].copy()
        self._state[:, 0] = _START
        # side by side as `mujoco_cpu` has them: the compiled check of the equations knows this layout already
        contact = np.zeros((count, substeps, NUM_BODIES, 9))
        contact[..., :3] = read["force"][:, :, order.body]
        normal, point = (read[name][:, :, order.body].astype(np.float64) for name in ("normal", "point"))
        torque = read["torque"][..., order.dof].astype(np.float64)
        valid, warnings = _sound_substeps(*is_bad)
        for row in range(count):
            start = state[row, :-1, 1 : 1 + NUM_QPOS]
            contact[row, ..., 6:] = contact_centres(humanoid, start, normal[row], point[row])
        trace = SubstepTrace(
            substep=step,
            state=state,
            ctrl=ctrl,
            ground_force=contact[..., :3],
            ground_torque=contact[..., 3:6],
            ground_point=contact[..., 6:],
            servo_force=torque,
            residual=None,
            valid_substeps=valid,
            warnings=warnings,
            warmstart=None,
            torque=torque,
            flags=self.flags,
        )
        for row in range(count):
            trace.ground_torque[row, :, :, 2] = free_moments(humanoid, trace, row)
        return trace


def _is_bad(*readings: np.ndarray) -> np.ndarray:
    """Substeps in which a reading is no number, or has blown up, shape (E, K)."""
    with np.errstate(invalid="ignore"):
        return np.any(
            [~np.all(np.abs(values.reshape(*values.shape[:2], -1)) < _BOUND, axis=-1) for values in readings], axis=0
        )


def _sound_substeps(state_is_bad: np.ndarray, force_is_bad: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Leading substeps that are sound, shape (E,), and what ended each environment: `BADSTATE`, `BADFORCE` or nothing."""
    is_bad = state_is_bad | force_is_bad
    count = is_bad.shape[1]
    first = np.where(is_bad.any(axis=1), is_bad.argmax(axis=1), count)
    names = ["" if at == count else "BADSTATE" if state_is_bad[row, at] else "BADFORCE" for row, at in enumerate(first)]
    return first.astype(np.int64), tuple(names)
