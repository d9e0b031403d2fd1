"""Made-up sequences whose records agree with each other, for tests of storage. They say so in their names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dataset import rotation
from dataset.schema import FRAME_RATE, Dynamics, Subject
from dataset.skeleton import GRAVITY, NUM_BODIES, NUM_JOINTS
from kernels.grf import average_ground_reaction

SUBSTEPS = 4


def build_dynamics(
    name: str = "made-up-0",
    *,
    frames: int = 40,
    seed: int = 0,
    clip: str = "made-up/sway",
    subject: Subject | None = None,
) -> Dynamics:
    """A body that sways smoothly while its feet push alternately; no simulation, but no contradiction either."""
    rng = np.random.default_rng(seed)
    subject = subject or Subject(name="made-up-person", mass=64.0)
    time = np.arange(frames) / FRAME_RATE
    phase, speed = rng.uniform(0, 6, (NUM_BODIES, 3)), rng.uniform(0.5, 2.0, (NUM_BODIES, 3))
    # rotation about one fixed axis a body, so that the angular velocity is the derivative of the angle along it
    axis = rng.normal(size=(NUM_BODIES, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = 0.4 * np.sin(time[:, None] * speed[:, 0] + phase[:, 0])
    rate = 0.4 * speed[:, 0] * np.cos(time[:, None] * speed[:, 0] + phase[:, 0])
    sway = np.array([0.1, 0.05, 0.01])
    root_pos = np.array([1.0 + 0.3 * seed, -0.5, 0.95]) + sway * np.sin(np.outer(time, [1.0, 2.0, 3.0]))
    root_vel = sway * [1.0, 2.0, 3.0] * np.cos(np.outer(time, [1.0, 2.0, 3.0]))
    substep_count = (frames - 1) * SUBSTEPS
    force = np.zeros((substep_count, NUM_BODIES, 3))
    share = 0.5 + 0.6 * np.sin(np.arange(substep_count) / SUBSTEPS / 6.0)
    force[:, 7, 2] = np.clip(share, 0, 1) * subject.mass * GRAVITY
    force[:, 8, 2] = np.clip(1 - share, 0, 1) * subject.mass * GRAVITY
    force[:, 7, 0] = 0.1 * force[:, 7, 2]
    point = np.zeros_like(force)
    point[:, 7, :2], point[:, 8, :2] = root_pos[0, :2] + [0.05, 0.1], root_pos[0, :2] + [0.05, -0.1]
    ground = average_ground_reaction(force, np.zeros_like(force), point, substeps_per_frame=SUBSTEPS)
    return Dynamics(
        name=name,
        clip=clip,
        subject=subject,
        seed=seed,
        substep=1 / FRAME_RATE / SUBSTEPS,
        root_pos=root_pos.astype(np.float32),
        quat=rotation.from_rotation_vector(axis * angle[..., None]).astype(np.float32),
        root_vel=root_vel.astype(np.float32),
        ang_vel=(axis * rate[..., None]).astype(np.float32),
        impulse=rng.normal(0, 1, (frames - 1, NUM_JOINTS, 3)).astype(np.float32),
        grf_mean=ground.grf_mean.astype(np.float32),
        grf=ground.grf.astype(np.float32),
        cop=ground.cop.astype(np.float32),
        free_moment=ground.free_moment.astype(np.float32),
        is_edge=ground.is_edge,
        momentum_error=rng.uniform(0, 0.005, frames - 1).astype(np.float32),
        closure_error=rng.uniform(0, 1e-12, frames - 1),
        clip_start=0.3,
        controller="made-up",
        solution=f"{seed:064x}",
        flags=("made_up",),
    )


@pytest.fixture(name="build_dynamics")
def build_dynamics_fixture() -> Callable[..., Dynamics]:
    """Builder of made-up sequences."""
    return build_dynamics


@pytest.fixture
def three_sequences() -> list[Dynamics]:
    """Two clips, two people, three lengths."""
    tall = Subject(name="made-up-tall", height=1.9, mass=85.5, shape=(0.1, -0.2))
    return [
        build_dynamics("made-up-0", frames=40, seed=0),
        build_dynamics("made-up-1", frames=23, seed=1, clip="made-up/turn"),
        build_dynamics("made-up-2", frames=31, seed=2, subject=tall),
    ]
