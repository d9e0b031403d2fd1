"""One sequence as OpenSim reads trials: external loads with their description, and the markers of a marker set."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from dataset import atomic
from dataset.body.default import make_body
from dataset.body.marker_sets import marker_set
from dataset.lab.axes import UP_ROTATION
from dataset.lab.external_loads import write_grf_mot
from dataset.lab.opensim import write_trc
from dataset.lab.simulated import simulated_trial
from dataset.schema import FRAME_RATE, Dynamics
from dataset.skeleton import FEET
from kernels.grf import sum_bodies

MARKERS = "plug_in_gait_39"
"""Marker set of the TRC file."""
SHORTEST = 6
"""Frames below which there are no markers: their tracks are interpolated to 120 Hz."""

_FORCE = """      <ExternalForce name="{name}">
        <applied_to_body>calcn_{side}</applied_to_body>
        <force_expressed_in_body>ground</force_expressed_in_body>
        <point_expressed_in_body>ground</point_expressed_in_body>
        <force_identifier>ground_force_{side}_v</force_identifier>
        <point_identifier>ground_force_{side}_p</point_identifier>
        <torque_identifier>ground_torque_{side}_</torque_identifier>
      </ExternalForce>
"""
_LOADS = """<?xml version="1.0" encoding="UTF-8" ?>
<OpenSimDocument Version="40000">
  <ExternalLoads name="external_loads">
    <objects>
{forces}    </objects>
    <groups />
    <datafile>{file}</datafile>
  </ExternalLoads>
</OpenSimDocument>
"""


def write_opensim(folder: Path, stem: str, item: Dynamics) -> list[Path]:
    """`STEM_grf.mot`, `STEM_external_loads.xml` that names its columns, and `STEM.trc`, all with Y up.

    Forces are those of both feet at 30 Hz; on other bodies they are in no file, since OpenSim models have feet only. A
    sequence of fewer than 6 frames gets no TRC file.
    """
    paths = [write_mot(folder / f"{stem}_grf.mot", item)]
    loads = folder / f"{stem}_external_loads.xml"
    forces = "".join(_FORCE.format(name=name, side=name[0]) for name in ("right", "left"))
    atomic.write_text(loads, _LOADS.format(forces=forces, file=paths[0].name))
    paths.append(loads)
    if item.num_frames >= SHORTEST:
        trial = simulated_trial(item, make_body(item.subject), marker_set(MARKERS))
        path = folder / f"{stem}.trc"
        write_trc(path, dataclasses.replace(trial, rot_world_lab=UP_ROTATION["y"]))
        paths.append(path)
    return paths


def write_mot(path: Path, item: Dynamics) -> Path:
    """Wrenches of both feet as OpenSim external loads (Y up); forces on other bodies are not in it."""
    feet = sum_bodies(item.grf, item.cop, item.free_moment, FEET)
    write_grf_mot(path, np.arange(item.num_frames) / FRAME_RATE, feet.force, feet.cop, feet.free_moment)
    return path
