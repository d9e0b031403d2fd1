"""Collection whose motion is planned, executed and summed on a device; on warp's `cpu` device here."""

import dataclasses

import numpy as np
import pytest
from this_process import ThisProcess

from dataset.body.mjcf import HumanoidConfig
from dataset.store import Store
from dataset.verify import VerifyConfig, verify_store
from sim.backends.contract import FLOAT32_CLOSURE
from sim.collect import Config, main
from sim.imitate_clip import ImitationConfig, NoDeviceError
from sim.imitation.tracker.config import SearchConfig

pytest.importorskip("mujoco_warp")
pytestmark = pytest.mark.timeout(900)  # a cold cache on a busy machine
ON_DEVICE = ImitationConfig(
    humanoid=HumanoidConfig(stiffness_scale=3.0, substep=1.0 / 120.0),
    search=SearchConfig(samples=2, rounds=1, knots=1, width_scale=0.02, damping=(0.1,), planning_substep=1.0 / 60.0),
    planner="cpu",
    engine="mujoco_warp",
)
"""Coarse steps: without a GPU a substep of a single environment takes as long as one of thirty."""


@pytest.fixture(scope="module")
def collected(tmp_path_factory, arm_swing):
    """A finished collection of one clip: (its config, its result)."""
    folder = tmp_path_factory.mktemp("motions") / "here"
    folder.mkdir()
    (folder / "short.txt").write_text(arm_swing(1.2))
    config = Config(
        motions=(str(folder),),
        out=tmp_path_factory.mktemp("data") / "set",
        solutions=(),
        workers=1,
        imitation=ON_DEVICE,
    )
    return config, main(config, lambda task, _: ThisProcess(task))


def test_what_the_device_executed_is_stored_and_sound(collected):
    config, result = collected
    store = Store.open(config.out)
    [info] = store.sequences
    assert info.clip == "here/short@0.00" and info.flags == ("float32",)
    assert result["complete"] == 1 and {loss.reason for loss in store.dropped} == {"transient"}
    assert verify_store(store) == []
    assert result["kept_s"] >= 1.2 - 0.3 - 1.0 / 15.0 - 1e-6
    dynamics = store.read(0)
    weight = dynamics.subject.mass * 9.81
    assert dynamics.grf_mean.sum(axis=1)[:, 2].mean() == pytest.approx(weight, rel=0.1)
    assert 1e-8 < dynamics.closure_error.max() < FLOAT32_CLOSURE
    assert np.median(dynamics.momentum_error) < 0.01
    assert result["replay_substeps_per_s"] > 0
    assert dynamics.controller == "tracker" and len(dynamics.solution) == 16


def test_float32_is_held_to_a_bound_of_its_own(collected):
    assert VerifyConfig().max_closure_float32 == FLOAT32_CLOSURE
    store = Store.open(collected[0].out)
    complaints = verify_store(store, VerifyConfig(max_closure_float32=1e-8))
    assert len(complaints) == 1 and "closure_error" in complaints[0]


def test_nothing_is_kept_that_could_not_be_replayed_and_a_second_start_finds_nothing_to_do(collected):
    config, _ = collected
    assert list((config.out / "solutions").rglob("*.npz")) == []
    before = Store.open(config.out).content
    assert main(config)["items"] == 0
    assert Store.open(config.out).content == before


def test_a_machine_without_the_device_stops_the_collection_and_settles_no_clip(collected, tmp_path):
    """A typo, or a node of a cluster that has no GPU."""
    config = dataclasses.replace(
        collected[0], out=tmp_path / "set", imitation=dataclasses.replace(ON_DEVICE, planner="cuda:7")
    )
    with pytest.raises(NoDeviceError, match=r"planner: device: expected one of cpu.*, got 'cuda:7'"):
        main(config, lambda task, _: ThisProcess(task))
    assert list(config.out.glob("shard-*")) == [], "nothing is known of the clip, so the next start begins it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"planner": ""}, r"engine: expected a planner \(cuda, cuda:N or cpu\) with mujoco_warp"),
        ({"may_search": False}, "may_search: expected it with the engine mujoco_warp"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, change, message):
    imitation = dataclasses.replace(ON_DEVICE, **change)
    with pytest.raises(ValueError, match=message):
        main(Config(out=tmp_path / "set", imitation=imitation))
    assert not (tmp_path / "set").exists()
