"""The card of newly trained weights: sources and licences of the motions, errors, limits.

The licence of a motion is that of its source; a source that is not listed is called `unknown`, and such weights should
not be passed on.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from dataset.schema import FRAME_RATE
from dataset.store import Store
from model.weights import DataSource, ModelCard

LICENCES = {
    "embedded": "zlib (motion clips of the pybullet wheel; from DeepMimic, MIT)",
    "deepmimic": "MIT",
    "snu_ys2010": "Apache-2.0 (walk clips MIT)",
    "snu_vsports": "Apache-2.0; CMU terms for subject 16",
    "snu_interactive": "Apache-2.0; CMU terms for subject 69",
    "snu_timecritical": "BSD-3-Clause",
    "snu_mass_mss": "Apache-2.0",
    "cmu_amc": "CMU: free for all uses, no resale of the motions",
    "cmu_bvh": "CMU: free for all uses, no resale of the motions",
}
"""Licence of the motions of each source (first part of a clip's name)."""

SUMMARY = (
    "Markers to ground reaction forces of 24 bodies, centres of pressure of both feet and imposed angular momenta of 23"
    " joints, per kilogram of body mass. Trained on simulated imitations of motion capture alone; no measured force was"
    " used."
)
LIMITS = (
    "Trained on simulated forces of rigid-bodied humanoids: impact peaks and push-off follow the simulator's contact.",
    "The ground is flat, level and at z = 0, and nothing else touches the body.",
    "Forces scale with the mass that the caller gives: 5 % too much mass is 5 % too much force.",
    "Motions unlike the training clips, and bodies far from adult proportions, give numbers without a warning.",
    "Not a medical device.",
)


def make_card(
    name: str,
    store: Store,
    train: np.ndarray,
    test: np.ndarray,
    errors: dict[str, dict[str, float]],
    run: dict[str, Any],
) -> ModelCard:
    """Card of weights trained on some sequences of a store.

    Args:
        name: Identifier of the weights.
        store: Simulated data.
        train: Numbers of the training sequences.
        test: Numbers of the sequences behind `errors`.
        errors: Held-out errors by method and metric.
        run: Provenance of the training run.
    """
    frames: dict[str, list[int]] = {}
    for number in train:
        info = store.sequences[int(number)]
        frames.setdefault(source_of(info.clip), []).append(info.num_frames)
    sources = tuple(
        DataSource(
            name=source, licence=LICENCES.get(source, "unknown"), sequences=len(lengths),
            minutes=round((sum(lengths) - len(lengths)) / FRAME_RATE / 60.0, 3),
        )
        for source, lengths in sorted(frames.items())
    )  # fmt: skip
    clips = tuple(sorted({store.sequences[int(number)].clip for number in test}))
    # The content hash names the data set, not where it lay; a resumed run ends with the weights of an uninterrupted one.
    settings = {name: value for name, value in run["config"].items() if name not in ("data", "out", "resume")}
    return ModelCard(
        name=name, summary=SUMMARY, sources=sources, data_content=store.content, train=settings, test_clips=clips,
        errors=errors, run={key: run[key] for key in ("command", "time", "code", "versions", "machine", "seeds")},
        limits=LIMITS,
    )  # fmt: skip


def source_of(clip: str) -> str:
    """Source of a clip: the first part of its name."""
    return re.split(r"[/:]", clip, maxsplit=1)[0]
