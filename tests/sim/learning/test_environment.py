"""The contract: generators can be put back, the point mass keeps it, and the learner imports no task."""

import ast
from pathlib import Path

import numpy as np
import pytest

from sim.learning.environment import (
    FINAL_OBSERVATION,
    ResumableEnvironment,
    check_observation,
    check_step,
    generator_state,
    set_generator_state,
)
from sim.learning.point_mass import LIMIT, PointMass

LEARNING = Path(__file__).parents[3] / "sim" / "learning"


def test_a_generator_put_back_repeats_itself():
    first = np.random.default_rng(3)
    first.integers(5, dtype=np.uint32)  # leaves half a word behind, which belongs to the state
    words = generator_state(first)
    expected = (first.integers(1 << 30, size=3, dtype=np.uint32), first.standard_normal(4))
    second = np.random.default_rng(0)
    set_generator_state(second, words)
    found = (second.integers(1 << 30, size=3, dtype=np.uint32), second.standard_normal(4))
    assert all(np.array_equal(one, other) for one, other in zip(expected, found))
    with pytest.raises(ValueError, match=r"expected 6 words, got shape \(3,\)"):
        set_generator_state(second, words[:3])
    with pytest.raises(ValueError, match="expected PCG64"):
        generator_state(np.random.Generator(np.random.MT19937(0)))


def test_the_point_mass_keeps_the_contract_and_can_be_put_back():
    environment = PointMass(num_envs=3, dimensions=2, length=5)
    assert isinstance(environment, ResumableEnvironment)
    check_observation(environment, environment.reset(0))
    rng = np.random.default_rng(0)
    actions = rng.standard_normal((12, 3, 2)).astype(np.float32)
    for action in actions[:4]:
        check_step(environment, environment.step(action))
    state = environment.state()
    expected = [environment.step(action) for action in actions[4:]]
    environment.set_state(state)
    for one, other in zip(expected, (environment.step(action) for action in actions[4:])):
        assert all(np.array_equal(a, b) for a, b in zip(one[:4], other[:4]))
    assert sum(step[3].sum() for step in expected) == 2 * 3


def test_the_point_mass_ends_beyond_its_limit_and_says_where():
    environment = PointMass(num_envs=1, length=1000)
    environment.reset(0)
    for _ in range(200):
        observation, _, terminated, truncated, info = environment.step(np.full((1, 1), 7.0))
        if terminated[0]:
            break
    assert terminated[0] and not truncated[0]
    assert info[FINAL_OBSERVATION][0, 0] > LIMIT and abs(observation[0, 0]) <= 1.0


def test_the_learner_imports_nothing_of_ours_but_dataset_and_itself():
    """PPO knows no task; the import contract names today's packages of `sim`, this holds for tomorrow's."""
    files = sorted(LEARNING.glob("*.py"))
    assert len(files) > 8
    ours = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                ours.add(node.module)
            elif isinstance(node, ast.Import):
                ours |= {alias.name for alias in node.names}
    foreign = [
        name for name in ours
        if name.split(".")[0] in {"sim", "model", "kernels", "bench", "ray_jobs"} and not name.startswith("sim.learning")
    ]  # fmt: skip
    assert foreign == []
