"""What an environment is to the learner: E copies of a task, stepped together, in numpy arrays.

Axis legend: E parallel environments, O entries of an observation, A entries of an action.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

FINAL_OBSERVATION = "final_observation"
"""Entry of a step's `info`: the observation before the reset, shape (E, O), read in the rows that were truncated."""

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""Observation (E, O), reward (E,), terminated (E,), truncated (E,) and info of a step."""


class Environment(Protocol):
    """The whole contract between a task and the learner.

    An environment that ended resets itself within the step: the observation that comes back is the first of the next
    episode, and `info["final_observation"]` holds the last of the old one.
    """

    @property
    def num_envs(self) -> int:
        """Number of environments E."""
        ...

    @property
    def observation_size(self) -> int:
        """Entries of an observation O."""
        ...

    @property
    def action_size(self) -> int:
        """Entries of an action A."""
        ...

    def reset(self, seed: int) -> np.ndarray:
        """Start all environments anew, as a function of the seed; the observations, shape (E, O), float32."""
        ...

    def step(self, action: np.ndarray) -> Step:
        """Apply an action of shape (E, A), float32, that has no bounds: clipping it is the environment's affair.

        Returns:
            Observation (E, O), float32. Reward (E,). Terminated (E,), bool: the task ended and nothing is worth anything
            after it (a fall). Truncated (E,), bool: only the clock ran out, so the return is completed with the value of
            the final observation. Info: named parts of the reward and whatever else is worth watching, each (E,), and
            `final_observation` (E, O) whenever an environment was truncated.
        """
        ...


@runtime_checkable
class ResumableEnvironment(Environment, Protocol):
    """An environment that can be put back, so that an interrupted training continues bit for bit."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything that decides what the next steps return, random generators included; arrays of any shape."""
        ...

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state of an environment made in the same way.

        Raises:
            ValueError: The state is not of such an environment.
        """
        ...


def check_step(environment: Environment, step: Step) -> None:
    """Hold the first step of an environment against the contract.

    Raises:
        ValueError: A part has another shape or type than the contract says; names the part.
    """
    count, size = environment.num_envs, environment.observation_size
    observation, reward, terminated, truncated, info = step
    check_observation(environment, observation)
    for name, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
        if np.shape(value) != (count,):
            raise ValueError(f"step: {name}: expected shape ({count},), got {np.shape(value)}")
    for name, value in (("terminated", terminated), ("truncated", truncated)):
        if value.dtype != np.bool_:
            raise ValueError(f"step: {name}: expected bool, got {value.dtype}")
    for name, value in info.items():
        shape = (count, size) if name == FINAL_OBSERVATION else (count,)
        if np.shape(value) != shape:
            raise ValueError(f"step: info[{name!r}]: expected shape {shape}, got {np.shape(value)}")


def check_observation(environment: Environment, observation: np.ndarray) -> None:
    """Hold an observation against the contract.

    Raises:
        ValueError: Another shape or type than float32 (E, O).
    """
    shape = (environment.num_envs, environment.observation_size)
    if np.shape(observation) != shape or observation.dtype != np.float32:
        found = f"{getattr(observation, 'dtype', type(observation).__name__)} {np.shape(observation)}"
        raise ValueError(f"observation: expected float32 {shape}, got {found}")


def generator_state(generator: np.random.Generator) -> np.ndarray:
    """State of a PCG64 generator (`np.random.default_rng`) as 6 words, uint64, for `ResumableEnvironment.state`.

    Raises:
        ValueError: Another kind of generator.
    """
    state = generator.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise ValueError(f"generator: expected PCG64 (np.random.default_rng), got {state['bit_generator']}")
    numbers = [word for key in ("state", "inc") for word in divmod(state["state"][key], 1 << 64)]
    return np.array([*numbers, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def set_generator_state(generator: np.random.Generator, words: np.ndarray) -> None:
    """Put a PCG64 generator where `generator_state` found it.

    Raises:
        ValueError: Not 6 words.
    """
    if np.shape(words) != (6,):
        raise ValueError(f"generator state: expected 6 words, got shape {np.shape(words)}")
    high, low, inc_high, inc_low, has_uint32, uinteger = (int(word) for word in words)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": (high << 64) | low, "inc": (inc_high << 64) | inc_low},
        "has_uint32": has_uint32,
        "uinteger": uinteger,
    }
