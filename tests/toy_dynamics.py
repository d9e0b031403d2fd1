"""Toy dynamics for tests of the solver: swaying bodies whose forces follow from their motion. Never used for results."""

import numpy as np

from dataset import rotation
from dataset.body.default import make_body
from dataset.kinematics import forward_kinematics
from dataset.schema import FRAME_RATE, Dynamics, Subject
from dataset.skeleton import BODY_INDEX, GRAVITY, NUM_BODIES, NUM_JOINTS

_BENDING = [BODY_INDEX[name] - 1 for name in ("Torso", "L_Hip", "R_Hip", "L_Shoulder")]
_ANKLES = (BODY_INDEX["L_Ankle"], BODY_INDEX["R_Ankle"])


def _sway(rng: np.random.Generator, time: np.ndarray, channels: int, size: float) -> np.ndarray:
    """Smooth random signals, sums of three sines below 1.2 Hz, shape (T, channels)."""
    frequency = rng.uniform(0.2, 1.2, (3, channels))
    phase = rng.uniform(0.0, 2.0 * np.pi, (3, channels))
    return size * np.sin(2.0 * np.pi * frequency * time[:, None, None] + phase).sum(axis=1) / np.sqrt(3.0)


def sway_dynamics(seed: int, frames: int = 120) -> Dynamics:
    """A body that bobs, sways and bends: total force m (a_com + g), shared by the ankles as it leans.

    Every joint's impulse is the vertical crossed with the velocity of the centre of mass: an axial vector, as a
    torque must be where windows are mirrored. All of it follows from the motion, so a solver can learn it.
    """
    rng = np.random.default_rng(seed)
    person = seed % 4
    subject = Subject(name=f"p{person}", height=1.6 + 0.07 * person, mass=60.0 + 7.0 * person)
    body = make_body(subject)
    time = np.arange(frames) / FRAME_RATE
    turn = rotation.from_rotation_vector(np.array([0.0, 0.0, rng.uniform(-3.0, 3.0)]))
    bend = np.zeros((frames, NUM_JOINTS, 3))
    bend[:, _BENDING] = _sway(rng, time, 3 * len(_BENDING), 0.2).reshape(frames, len(_BENDING), 3)
    quat = np.concatenate([np.tile(turn, (frames, 1, 1)), rotation.from_rotation_vector(bend)], axis=1)
    root = rotation.rotate(turn, _sway(rng, time, 3, 1.0) * [0.08, 0.08, 0.03])
    root = root + rng.uniform(-3.0, 3.0, 3) * [1, 1, 0] + body.joint_pos[0] * [0, 0, 1]
    position, orientation = forward_kinematics(body.offset, root, quat)
    com = position + rotation.rotate(orientation, body.com)
    com = (com * body.mass[:, None]).sum(axis=1) / subject.mass
    com_velocity = np.gradient(com, 1 / FRAME_RATE, axis=0)
    acceleration = np.gradient(com_velocity, 1 / FRAME_RATE, axis=0)
    total = subject.mass * (acceleration + np.array([0.0, 0.0, GRAVITY]))
    lean = rotation.rotate(rotation.conjugate(turn), com - root)[:, 1]
    left = 1.0 / (1.0 + np.exp(-lean / 0.05))
    grf = np.zeros((frames, NUM_BODIES, 3))
    grf[:, _ANKLES[0]], grf[:, _ANKLES[1]] = left[:, None] * total, (1.0 - left)[:, None] * total
    cop = np.full((frames, NUM_BODIES, 2), np.nan)
    for ankle in _ANKLES:
        cop[:, ankle] = position[:, ankle, :2]
    rate = np.zeros((frames, NUM_BODIES, 3))
    moment = np.cross([0.0, 0.0, 1.0], rotation.rotate(rotation.conjugate(turn), com_velocity))
    arrays = {
        "root_pos": root, "quat": quat, "root_vel": np.gradient(root, 1 / FRAME_RATE, axis=0), "ang_vel": rate,
        "impulse": 0.05 * subject.mass * moment[:-1, None].repeat(NUM_JOINTS, axis=1), "grf": grf, "cop": cop,
        "grf_mean": 0.5 * (grf[1:] + grf[:-1]), "free_moment": np.zeros((frames, NUM_BODIES)),
        "momentum_error": np.zeros(frames - 1),
    }  # fmt: skip
    return Dynamics(
        name=f"sway-{seed}", clip=f"toy/sway-{seed}", subject=subject, seed=seed, substep=1 / 150,
        is_edge=(np.arange(frames) % (frames - 1)) == 0, closure_error=np.zeros(frames - 1),
        **{name: value.astype(np.float32) for name, value in arrays.items()},
    )  # fmt: skip
