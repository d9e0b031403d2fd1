"""How something was made: the run record written beside results, as `run.json`, never inside hashed data.

A record holds the command, the resolved configuration, seeds, the code's version, package versions and what kind of
machine it was: nothing that names the machine, its user or its network.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from dataset import atomic
from dataset.place import Place
from dataset.storage import Storage, open_storage

RUN_FILE: Final = "run.json"
_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES: Final = ("ezc3d", "gymnasium", "mujoco", "numba", "numpy", "ray", "safetensors", "scipy", "torch", "triton")


def run_record(
    command: str, config: Any = None, *, seeds: Mapping[str, int] | None = None, **facts: Any
) -> dict[str, Any]:
    """Record of this run, ready for JSON.

    Args:
        command: Entry point, e.g. `sim.collect`.
        config: Resolved configuration: a dataclass, mapping or plain value.
        seeds: Seeds by name.
        facts: Anything else worth keeping, e.g. `result={...}`.

    Returns:
        Command, time, code, versions, machine, config, seeds and facts.
    """
    return {
        "command": command,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "versions": package_versions(),
        "machine": machine_facts(),
        "config": plain(config),
        "seeds": dict(seeds or {}),
        **{key: plain(value) for key, value in facts.items()},
    }


def add_run(folder: Place | Storage, record: dict[str, Any]) -> Place:
    """Append a run record to `run.json` of a folder or address, atomically; earlier runs stay.

    Raises:
        ValueError: There is a `run.json` that is not one of ours.
    """
    storage = open_storage(folder)
    runs = read_runs(storage)
    storage.write_file(RUN_FILE, atomic.encode_json({"runs": [*runs, plain(record)]}))
    return storage.at(RUN_FILE)


def read_runs(folder: Place | Storage) -> list[dict[str, Any]]:
    """Run records of a folder or address, oldest first; empty if there is no `run.json`.

    Raises:
        ValueError: The file is not one of ours.
    """
    storage = open_storage(folder)
    data = storage.read_file(RUN_FILE)
    if data is None:
        return []
    try:
        runs = json.loads(data)["runs"]
    except (ValueError, KeyError, TypeError) as error:
        path = storage.at(RUN_FILE)
        raise ValueError(f"{path}: expected an object with a list `runs`, found {error}; delete the file") from error
    return runs


def code_version(root: Path = _ROOT) -> dict[str, Any]:
    """Commit of the repository and whether tracked files differ from it; `unknown` outside a git checkout.

    Rows in `bench/results` are no code: a measurement that appends them would call every later one a modified program's.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)bench/results/*.jsonl")
    return {"commit": commit or "unknown", "is_modified": bool(changes) if commit else None}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on, as far as installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def machine_facts() -> dict[str, Any]:
    """Processor, usable cores, memory [GB] and operating system; nothing that identifies the machine."""
    facts: dict[str, Any] = {"system": platform.system(), "architecture": platform.machine()}
    facts["processor"] = processor_name()
    facts["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        facts["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        facts["memory_gb"] = None
    torch = sys.modules.get("torch")  # asked only if the run loaded it: importing it takes seconds
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name(0)
    return facts


def processor_name() -> str:
    """Model name of the processor, as the operating system gives it; `unknown` where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def plain(value: Any) -> Any:
    """The value in JSON's own types: dataclasses and mappings to objects, arrays to lists, paths to strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)
