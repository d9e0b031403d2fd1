"""The 15 DeepMimic clips inside the `pybullet` wheel: read from its zip, never installed or imported.

The wheel (zlib licence) is fetched once with `pip download --no-deps` into the cache folder: `IMDYLAB_CACHE`, else
`~/.cache/imdylab`. Its sha256 is checked each time it is opened.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from dataset.motion.cycle import repeat_cycle
from dataset.motion.deepmimic import parse_deepmimic
from dataset.schema import Motion

WHEEL: Final[str] = "pybullet-3.2.7-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
WHEEL_SHA256: Final[str] = "5d858abf7c12a21ef3ed351cf81dac1b5e486ec25c9ab59bfc84beb89034edff"
CLIP_NAMES: Final[tuple[str, ...]] = (
    "backflip", "cartwheel", "crawl", "dance_a", "dance_b", "getup_facedown", "getup_faceup", "jump", "kick", "punch",
    "roll", "run", "spin", "spinkick", "walk",
)  # fmt: skip
SOURCE: Final[str] = "embedded"
_MEMBER = "pybullet_data/data/motions/humanoid3d_{name}.txt"


def cache_folder() -> Path:
    """Folder of files fetched once: `IMDYLAB_CACHE`, else `~/.cache/imdylab`."""
    return Path(os.environ.get("IMDYLAB_CACHE") or Path.home() / ".cache" / "imdylab")


def embedded_clips(
    cache_dir: str | Path | None = None, *, min_cycle_duration: float = 5.0, fetch: bool = True
) -> dict[str, Motion]:
    """The clips by name, on the canonical skeleton (see `dataset.motion.deepmimic`), before retargeting.

    Clips marked `Loop=wrap` are one cycle (walk and run among them); they are repeated to at least `min_cycle_duration`
    seconds with the root displacement accumulated. 0 leaves them as they are.

    Args:
        cache_dir: Folder of the wheel; default `cache_folder()`.
        min_cycle_duration: Length that cycles are repeated to [s].
        fetch: Whether the wheel may be downloaded if it is not there.

    Raises:
        FileNotFoundError: If the wheel is neither cached nor can be fetched.
        ValueError: If the wheel's hash is not the expected one.
    """
    path = wheel_path(cache_dir, fetch=fetch)
    clips = {}
    with zipfile.ZipFile(path) as archive:
        for name in CLIP_NAMES:
            member = _MEMBER.format(name=name)
            text = archive.read(member).decode("utf-8")
            motion = parse_deepmimic(text, name=name, source=SOURCE, path=f"{path}!{member}")
            clips[name] = repeat_cycle(motion, min_cycle_duration) if motion.is_cyclic else motion
    return clips


def wheel_path(cache_dir: str | Path | None = None, *, fetch: bool = True) -> Path:
    """The checked wheel in the cache, fetched if it is not there; errors as `embedded_clips`."""
    folder = Path(cache_dir) if cache_dir is not None else cache_folder()
    path = folder / WHEEL
    if not path.exists():
        if not fetch:
            raise FileNotFoundError(f"{path}: not there, and fetching was not allowed")
        _fetch(folder)
    digest = _sha256(path)
    if digest != WHEEL_SHA256:
        raise ValueError(f"{path}: expected sha256 {WHEEL_SHA256}, found {digest}; delete the file to fetch it again")
    return path


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [
            sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
            "--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64", "--dest", scratch,
            "pybullet==3.2.7",
        ]  # fmt: skip
        sys.stderr.write(f"fetching {WHEEL} (98 MB, once) into {folder}\n")
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        except subprocess.TimeoutExpired as error:
            raise FileNotFoundError(_advice(folder, "pip did not finish within 900 s")) from error
        fetched = Path(scratch) / WHEEL
        if done.returncode != 0 or not fetched.exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise FileNotFoundError(_advice(folder, "pip said: " + (lines[-1] if lines else f"exit {done.returncode}")))
        shutil.move(fetched, folder / (WHEEL + ".part"))
        os.replace(folder / (WHEEL + ".part"), folder / WHEEL)


def _advice(folder: Path, reason: str) -> str:
    return (
        f"{folder / WHEEL}: the embedded clips are not there and could not be fetched ({reason}). With a network, run "
        "`pip download --no-deps pybullet==3.2.7`; without one, copy that wheel (CPython 3.11, manylinux x86_64) into the folder"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
