"""A whole training by PPO in a folder: settings, metrics, checkpoints, the trained policy, and how it was made.

`train(environment, config, out)` is the entry point of every study that learns; it writes `config.json`, `metrics.jsonl`,
`checkpoint_*.safetensors` with `.json`, `policy.safetensors` with `.json`, and `run.json`.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from dataset import atomic, provenance
from sim.learning.checkpoint import load_checkpoint, save_checkpoint
from sim.learning.config import PPOConfig
from sim.learning.environment import Environment, ResumableEnvironment
from sim.learning.learner_state import learner_counters, learner_tensors, restore, start_from
from sim.learning.policy import Policy, save_policy
from sim.learning.ppo import Learner
from sim.learning.progress import METRICS_FILE, MetricsLog, Progress

_log = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
POLICY_FILE = "policy.safetensors"
_FREE = ("iterations", "checkpoint_every")
"""Settings that a continuation may change; `iterations` only where no schedule depends on it."""


def train(
    environment: Environment,
    config: PPOConfig,
    out: Path,
    *,
    resume: bool = False,
    initial: Path | None = None,
    task: dict[str, Any] | None = None,
) -> Learner:
    """Train to the last iteration, from the last checkpoint in `out` if asked.

    Args:
        environment: The task.
        config: Settings.
        out: Folder of the run.
        resume: Go on from the last checkpoint in `out`: bit for bit as if nothing had happened if the environment has a
            state, with new episodes (and a warning) if it has none.
        initial: Checkpoint (or folder of a run) whose networks and observation statistics are the start: fine-tuning. A
            continuation has them already.
        task: What else decides the result, written beside it and held against a checkpoint's: names and settings of the task.

    Returns:
        The learner after the last iteration.

    Raises:
        ValueError: `resume` finds no fitting checkpoint, `initial` is of other networks, or the environment breaks the contract.
        FloatingPointError: The training diverged.
    """
    settings = json.loads(json.dumps({"ppo": provenance.plain(config), "task": provenance.plain(task or {})}))
    learner = Learner(environment, config)
    if resume:
        tensors, facts = load_checkpoint(out)
        _require_same(out, facts.get("settings", {}), settings)
        if not isinstance(environment, ResumableEnvironment):
            _log.warning(
                "the environment has no state: its episodes start anew, the run is not that of an uninterrupted one"
            )
        restore(learner, tensors, facts["counters"])
    elif initial is not None:
        start_from(learner, load_checkpoint(initial)[0])
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_json(out / CONFIG_FILE, settings)
    log = MetricsLog(out / METRICS_FILE, learner.iteration)
    steps_an_iteration = learner.steps_each * environment.num_envs
    progress = Progress(config.iterations * steps_an_iteration, learner.steps)
    while learner.iteration < config.iterations:
        row = _row(learner, steps_an_iteration)
        log.write(row)
        progress.update(row)
        if learner.iteration % config.checkpoint_every == 0 or learner.iteration == config.iterations:
            facts = {
                "counters": learner_counters(learner),
                "settings": settings,
                "versions": provenance.package_versions(),
            }
            save_checkpoint(out, learner.iteration, learner_tensors(learner), facts)
    progress.close()
    result = {"steps": learner.steps, "episode_return": learner.episodes.mean_return}
    save_policy(out / POLICY_FILE, Policy.of(learner), {"settings": settings, **provenance.plain(result)})
    record = provenance.run_record("sim.learning.train", settings, seeds={"seed": config.seed}, result=result)
    provenance.add_run(out, record)
    return learner


def _row(learner: Learner, steps_an_iteration: int) -> dict[str, Any]:
    """One iteration, and its row of the metrics."""
    began = time.monotonic()
    terms, learning = learner.iterate()
    episodes = learner.episodes
    return {
        "iteration": learner.iteration,
        "steps": learner.steps,
        "episodes": episodes.finished,
        "episode_return": episodes.mean_return,
        "episode_length": episodes.mean_length,
        "terms": terms,
        "learning": learning,
        "steps_per_s": round(steps_an_iteration / (time.monotonic() - began), 1),
    }


def _require_same(out: Path, saved: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse to go on with other settings."""
    free = _FREE if settings["ppo"]["schedule"] != "linear" else _FREE[1:]
    pairs = [
        f"{name} {saved.get(part, {}).get(name)!r} -> {settings[part].get(name)!r}"
        for part in ("ppo", "task")
        for name in sorted(saved.get(part, {}).keys() | settings[part].keys())
        if saved.get(part, {}).get(name) != settings[part].get(name) and not (part == "ppo" and name in free)
    ]
    if pairs:
        raise ValueError(
            f"{out}: made with other settings ({', '.join(pairs)}); resume with the same ones or use another folder"
        )
