"""Tracker solutions on disk: servo-target offsets and hashes, no poses.

A solution names what it was found for by the hash of the motion, the hash of the body and the seed, and holds the executed knot
offsets of each tracked stretch. Replayed open loop on the same build and processor type it reproduces the search's motion bit
for bit. No hash covers the code that makes servo targets of a motion (dynamics filter, feed-forward, interpolation): a hash of
the physics state at each second tells that it changed, or that the machine computes otherwise. A replay that misses them is
inexact: it is judged by its error against the motion, and where that is too large the clip is searched again.

File: a `.npz` without pickles: `header` (UTF-8 JSON as bytes), `offsets` (all stretches one after the other, int16 multiples of
`QUANTUM` rad, shape (sum of lengths, D)), `state_hash` (first 8 bytes of the SHA-256 of the state at each second, uint64),
`error_mm` (mean body error at each knot, uint16) and `pushing` (which forces the floor pushes with in each pass of the dynamics
filter, a bit each, all passes one after the other). Files of the first format have no `pushing`; the filter then finds it.

Axis legend: D = 25 searched degrees of freedom.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import threading
from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np

from dataset.body.mjcf import HumanoidConfig, humanoid_mjcf
from dataset.body.model import BodyModel
from dataset.place import Place
from dataset.schema import Motion, Subject
from dataset.storage import read_file, write_file

FORMAT = "imdylab-solution-2"
_PARSING = threading.Lock()
"""One thread at a time reads the headers of arrays: the parser of Python 3.11.7 counts its depth over all of them, and trips."""
FIRST_FORMAT = "imdylab-solution-1"
KNOTS_PER_SECOND = 15


@dataclass(frozen=True, eq=False)
class StretchSolution:
    """One stretch of a clip, started in the reference's state."""

    start: int
    """Knot of the clip at which it starts."""
    offsets: np.ndarray
    """Executed knot offsets in multiples of `QUANTUM`, first row zero, shape (knots + 1, D), int16."""
    state_hash: np.ndarray
    """Hash of the physics state at each whole second after the start, shape (seconds,), uint64."""
    error_mm: np.ndarray
    """Mean distance of the bodies from the reference at each knot [mm], shape (knots + 1,), uint16."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Solution:
    """What drives a humanoid through a clip."""

    clip: str
    """`source/name` of the motion."""
    subject: Subject
    """Person it was found for."""
    humanoid: HumanoidConfig
    """Physics it was found with."""
    motion_hash: str
    """Of the retargeted motion."""
    body_hash: str
    """Of the humanoid's model text."""
    seed: int
    """Seed of the search."""
    num_knots: int
    """Knots of the whole clip."""
    num_retries: int
    """Times the search went back."""
    search: dict[str, float]
    """Settings of the search, for the record."""
    stretches: tuple[StretchSolution, ...]
    """Tracked stretches in order."""
    pushing: tuple[np.ndarray, ...] = ()
    """Which of the floor's forces push in each pass of the dynamics filter, bool; it spares a replay to find them."""

    @property
    def is_complete(self) -> bool:
        """Whether one stretch covers the whole clip."""
        return len(self.stretches) == 1 and len(self.stretches[0].offsets) == self.num_knots + 1

    @property
    def identity(self) -> str:
        """Short hash of what the solution does: two solutions with the same identity replay the same motion."""
        digest = hashlib.sha256(f"{self.motion_hash} {self.body_hash} {self.seed}".encode())
        for stretch in self.stretches:
            digest.update(stretch.start.to_bytes(4, "little") + stretch.offsets.tobytes())
        return digest.hexdigest()[:16]


def motion_hash(motion: Motion) -> str:
    """Hash of a retargeted motion's numbers to 1e-4 (m or quaternion parts); the name does not enter.

    Coarse, so that last-bit differences between machines do not show; what is finer than it does not change a replay's fate.
    """
    digest = hashlib.sha256(f"{motion.frame_rate!r} {motion.num_frames}".encode())
    for values in (motion.root_pos, motion.quat):
        digest.update(np.round(1e4 * values).astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def body_hash(body: BodyModel, config: HumanoidConfig) -> str:
    """Hash of the humanoid's model text without its name."""
    anonymous = dataclasses.replace(body, subject=dataclasses.replace(body.subject, name="subject"))
    return hashlib.sha256(humanoid_mjcf(anonymous, config).encode()).hexdigest()[:16]


def state_hash(state: np.ndarray) -> np.uint64:
    """First 8 bytes of the SHA-256 of a physics state's bytes (time left out)."""
    return np.frombuffer(hashlib.sha256(np.ascontiguousarray(state[1:]).tobytes()).digest()[:8], dtype=np.uint64)[0]


def save_solution(path: Place, solution: Solution) -> None:
    """Write a solution to a file or address, whole or not at all."""
    header = {
        "format": FORMAT, "clip": solution.clip, "subject": dataclasses.asdict(solution.subject),
        "humanoid": dataclasses.asdict(solution.humanoid), "motion_hash": solution.motion_hash,
        "body_hash": solution.body_hash, "seed": solution.seed, "num_knots": solution.num_knots,
        "num_retries": solution.num_retries, "search": solution.search,
        "stretches": [
            {"start": stretch.start, "knots": len(stretch.offsets), "seconds": len(stretch.state_hash)}
            for stretch in solution.stretches
        ],
        "pushing": [len(bits) for bits in solution.pushing],
    }  # fmt: skip
    width = solution.stretches[0].offsets.shape[1] if solution.stretches else 0
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        header=np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
        offsets=np.concatenate([s.offsets for s in solution.stretches] or [np.zeros((0, width), np.int16)]),
        state_hash=np.concatenate([s.state_hash for s in solution.stretches] or [np.zeros(0, np.uint64)]),
        error_mm=np.concatenate([s.error_mm for s in solution.stretches] or [np.zeros(0, np.uint16)]),
        pushing=np.packbits(np.concatenate([*solution.pushing, np.zeros(0, bool)])),
    )
    write_file(path, buffer.getvalue())


def load_solution(path: Place) -> Solution:
    """Read a solution from a file or address.

    Raises:
        ValueError: Not a solution file, another format version, or cut short.
    """
    try:
        data = read_file(path)
        with _PARSING, np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
            missing = {"header", "offsets", "state_hash", "error_mm"} - arrays.keys()
            if missing:
                raise ValueError(f"no {', '.join(sorted(missing))} in it")
        header = json.loads(arrays["header"].tobytes().decode())
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path}: expected a tracker solution (.npz with header, offsets, state_hash), got: {error}"
        ) from error
    if header.get("format") not in (FORMAT, FIRST_FORMAT):
        raise ValueError(f"{path}: expected format {FORMAT!r}, got {header.get('format')!r}; search the clip again")
    try:
        return _solution(path, header, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected the header of a tracker solution, found one without or with another {error}; the file is damaged"
        ) from error


def _solution(path: Place, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Solution:
    """What header and arrays of a file say."""
    stretches, knot, second = [], 0, 0
    for item in header["stretches"]:
        knots, seconds = slice(knot, knot + item["knots"]), slice(second, second + item["seconds"])
        stretches.append(
            StretchSolution(
                item["start"], arrays["offsets"][knots], arrays["state_hash"][seconds], arrays["error_mm"][knots]
            )
        )
        knot, second = knots.stop, seconds.stop
    if knot != len(arrays["offsets"]) or second != len(arrays["state_hash"]):
        raise ValueError(
            f"{path}: expected {knot} knots as its header says, got {len(arrays['offsets'])}; the file is damaged"
        )
    counts = header.get("pushing", [])
    bits = arrays.get("pushing", np.zeros(0, np.uint8))
    if len(bits) != (sum(counts) + 7) // 8:
        raise ValueError(
            f"{path}: expected {sum(counts)} bits of pushing forces as its header says, got {8 * len(bits)}; the file is damaged"
        )
    pushing = np.split(np.unpackbits(bits, count=sum(counts)).astype(bool), np.cumsum(counts)[:-1]) if counts else []
    config = {**header["humanoid"], "contact_impedance": tuple(header["humanoid"]["contact_impedance"])}
    person = {**header["subject"], "shape": tuple(header["subject"]["shape"])}
    return Solution(
        clip=header["clip"], subject=Subject(**person), humanoid=HumanoidConfig(**config), motion_hash=header["motion_hash"],
        body_hash=header["body_hash"], seed=header["seed"], num_knots=header["num_knots"], num_retries=header["num_retries"],
        search=header["search"], stretches=tuple(stretches), pushing=tuple(pushing),
    )  # fmt: skip
