"""Softness of the floor contact and size of the feet, chosen by what walking feels like.

`python -m sim.studies.contact` searches the embedded walk anew for each variant and writes `docs/results/contact.csv`: how close
the imitation is, and the forces of single feet over whole strides. People load a foot to 1.0 to 1.35 body weights twice in a
stance, and the peak at heel strike (before the filter) stays below that of loading in walking.

Axis legend: K physics substeps, F = left, right foot.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import sys
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dataset.atomic import write_text
from dataset.body.default import make_body
from dataset.body.mjcf import HumanoidConfig
from dataset.body.model import BodyModel
from dataset.body.shapes import measured_foot, with_foot
from dataset.body.subjects import SUBJECTS
from dataset.command_line import run_command
from dataset.skeleton import FEET, GRAVITY
from sim.humanoid import Humanoid, make_humanoid
from sim.imitation.assess import TRANSIENT, assess, strides
from sim.imitation.tracker.reference import make_reference
from sim.imitation.tracker.solve import Replay, replay, solve
from sim.work_items import list_clips

STRIKE_SHARE = 0.25
"""Part of a stance in which the strike's peak is looked for."""
STRIKE_AVERAGE = 0.01
"""Time over which the force of a strike is averaged [s]."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What differs from the humanoid as it is."""

    name: str
    """What the table calls it."""
    physics: HumanoidConfig = field(default_factory=HumanoidConfig)
    """Physical parameters."""
    foot: tuple[tuple[str, float], ...] = ()
    """Changes of the foot boxes [m] (`dataset.body.shapes.FootBoxes`)."""


VARIANTS = (
    Variant(name="as it is"),
    Variant(name="contact time .01 s", physics=HumanoidConfig(contact_time=0.01)),
    Variant(name="contact time .03 s", physics=HumanoidConfig(contact_time=0.03)),
    Variant(name="contact time .04 s", physics=HumanoidConfig(contact_time=0.04)),
    Variant(name="impedance over 10 mm", physics=HumanoidConfig(contact_impedance=(0.5, 0.95, 0.01))),
    Variant(name="friction .7", physics=HumanoidConfig(friction=0.7)),
    Variant(name="heel 15 mm longer", foot=(("heel_back", 0.015),)),
    Variant(name="heel 15 mm shorter", foot=(("heel_back", -0.015),)),
    Variant(name="toes 20 mm shorter", foot=(("toe_front", -0.02),)),
    Variant(name="sole 20 mm narrower", foot=(("inner", -0.01), ("outer", -0.01), ("toe_inner", -0.01), ("toe_outer", -0.01))),
)  # fmt: skip
"""What is compared."""
COLUMNS = (
    "variant", "error_mm", "first_peak_bw", "second_peak_bw", "strike_bw", "stance", "r_hip", "r_knee", "r_ankle", "retries",
)  # fmt: skip
"""Columns of the table; both feet averaged."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the study."""

    out: Path = Path("docs/results/contact.csv")
    """Table."""
    seed: int = 0
    """Seed of the searches."""
    workers: int = 0
    """Processes; 0 for one a core."""


def varied(body: BodyModel, variant: Variant) -> BodyModel:
    """The body on the variant's feet."""
    foot = measured_foot(body.vertices, body.weights, body.joint_pos)
    changes = {name: getattr(foot, name) + change for name, change in variant.foot}
    return with_foot(body, dataclasses.replace(foot, **changes)) if changes else body


def strike_peak(humanoid: Humanoid, part: Replay) -> float:
    """Median over strikes of the largest force in the first `STRIKE_SHARE` of a stance, over 10 ms [body weights]."""
    rate = 1.0 / part.trace.substep
    width = max(1, round(STRIKE_AVERAGE * rate))
    found = []
    for bodies in FEET:
        force = part.trace.ground_force[0, :, list(bodies), 2].sum(axis=0)
        rolling = np.convolve(force, np.ones(width) / width, mode="same")
        for strike, off, _ in strides(force, rate):
            if strike > TRANSIENT * rate:
                found.append(rolling[strike : strike + max(1, round(STRIKE_SHARE * (off - strike)))].max())
    return float(np.median(found) / (humanoid.body.mass.sum() * GRAVITY)) if found else np.nan


def measure(work: tuple[Variant, int]) -> list[str]:
    """Row of one variant."""
    variant, seed = work
    humanoid = make_humanoid(varied(make_body(SUBJECTS[0]), variant), variant.physics)
    motion = next(clip for clip in list_clips(("embedded",)) if clip.label.endswith("/walk")).motions(humanoid.body)[0]
    solution = solve(humanoid, motion, seed=seed)
    part = max(replay(humanoid, motion, solution), key=lambda item: item.trace.num_substeps)
    figures = assess(humanoid, make_reference(humanoid, motion), part)
    feet = {
        name: np.mean([getattr(foot, name) for foot in figures.feet])
        for name in ("first_peak", "second_peak", "stance_share")
    }
    values = (
        feet["first_peak"],
        feet["second_peak"],
        strike_peak(humanoid, part),
        feet["stance_share"],
        *figures.torque_correlation,
    )
    return [variant.name, f"{figures.error_mm:.0f}", *(f"{value:.2f}" for value in values), str(solution.num_retries)]


def main(config: Config) -> None:
    """Measure, print and write the table."""
    from tqdm import tqdm

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = [(variant, config.seed) for variant in VARIANTS]
    with get_context("spawn").Pool(min(config.workers or os.cpu_count() or 1, len(work))) as pool:
        rows = list(tqdm(pool.imap(measure, work), total=len(work), unit="variant", file=sys.stderr))
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(config.out, text.getvalue())
    print(text.getvalue(), end="")


def run() -> None:
    """The command line."""
    import tyro

    main(tyro.cli(Config, description=__doc__))


if __name__ == "__main__":
    sys.exit(run_command("contact", run))
