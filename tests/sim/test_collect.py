"""Collection: every clip on every subject, whatever fails is counted, a second start goes on, a stored solution is replayed."""

import dataclasses
from concurrent.futures import Future

import numpy as np
import pytest

from dataset.body.mjcf import HumanoidConfig
from dataset.body.subjects import SUBJECTS
from dataset.provenance import read_runs
from dataset.store import Store
from dataset.summary import summarize
from dataset.verify import verify_store
from sim import collect
from sim.collect import Config, main
from sim.imitate_clip import ImitationConfig, find_solutions, imitate_item
from sim.imitation.solution import load_solution, save_solution
from sim.imitation.tracker.config import SearchConfig
from sim.work_items import list_clips, list_items

QUICK = ImitationConfig(
    humanoid=HumanoidConfig(stiffness_scale=3.0),
    search=SearchConfig(samples=2, rounds=1, knots=2, width_scale=0.02),
)
"""Stiff enough to stand by itself, so that hardly a search is enough for a person who swings the arms."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory, arm_swing):
    """Folder `here` with two clips that can be tracked, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("motions") / "here"
    folder.mkdir()
    (folder / "long.txt").write_text(arm_swing(1.9))
    (folder / "short.txt").write_text(arm_swing(1.6))
    (folder / "torn.txt").write_text(arm_swing(1.6)[:5000])
    return folder


@pytest.fixture(scope="module")
def collected(clips, tmp_path_factory):
    """A finished collection of the folder: (its config, its result)."""
    config = Config(
        motions=(str(clips),), out=tmp_path_factory.mktemp("data") / "set", solutions=(), workers=1, imitation=QUICK
    )
    return config, main(config)


def test_what_can_be_tracked_is_stored_and_what_cannot_is_counted(collected):
    config, result = collected
    store = Store.open(config.out)
    assert sorted(info.clip for info in store.sequences) == ["here/long@0.00", "here/short@0.00"]
    assert result["items"] == 3 and result["complete"] == 2
    assert {loss.reason for loss in store.dropped} == {"transient", "unreadable"}
    assert "torn.txt" in result["errors"]["here/torn/neutral172/0"]
    assert verify_store(store) == []
    assert store.seconds == pytest.approx(result["kept_s"])
    asked = 1.9 + 1.6
    assert asked - 2 * (0.3 + 1.0 / 15.0) - 1e-6 <= result["kept_s"] <= asked - 2 * 0.3 + 1e-6


def test_stored_records_stand_on_the_ground_and_close(collected):
    for dynamics in Store.open(collected[0].out):
        weight = dynamics.subject.mass * 9.81
        assert dynamics.grf_mean.sum(axis=1)[:, 2].mean() == pytest.approx(weight, rel=0.05)
        assert dynamics.closure_error.max() < 1e-8
        assert dynamics.controller == "tracker" and len(dynamics.solution) == 16
        assert dynamics.clip_start == pytest.approx(0.3)


def test_a_second_start_tries_again_what_could_not_be_read_and_changes_nothing(collected):
    config, first = collected
    before = Store.open(config.out).content
    again = main(config)
    assert again["items"] == 1 and list(again["errors"]) == ["here/torn/neutral172/0"]
    assert again["completion"] == first["completion"]
    assert Store.open(config.out).content == before
    assert main(dataclasses.replace(config, keep_failed=True))["items"] == 0
    assert Store.open(config.out).content == before
    assert [run["command"] for run in read_runs(config.out)] == ["sim.collect"] * 3


def test_the_landing_is_no_loss(collected):
    _, result = collected
    assert result["items_by_loss"] == {"unreadable": 1}
    assert result["cut_s"]["transient"] == pytest.approx(2 * 0.3)
    figures = result["completion"]["here"]
    assert (figures["stretches"], figures["whole"], figures["failed"]) == (3, 2, 1)
    assert figures["asked"] == figures["kept"] == pytest.approx(result["kept_s"])


def test_what_failed_is_made_good_by_a_later_run_and_then_counts_once(collected, clips, tmp_path, monkeypatch):
    config, first = collected
    monkeypatch.setattr("sim.collect_pool.ProcessPoolExecutor", InProcess)
    wanted = dataclasses.replace(
        config, out=tmp_path / "set", motions=(str(clips / "long.txt"), str(clips / "short.txt"))
    )
    without = dataclasses.replace(wanted, imitation=dataclasses.replace(QUICK, may_search=False))
    assert main(without)["items_by_loss"] == {"no_solution": 2}
    assert main(without)["items"] == 2 and len(Store.open(wanted.out).dropped) == 2, "a loss is stored once"
    with monkeypatch.context() as patch:
        patch.setattr("sim.collect_pool.imitate_item", lambda *_: 1 / 0)
        assert main(wanted)["items_by_loss"] == {"error": 2}
    summary = summarize(Store.open(wanted.out))
    assert summary.completion["here"].failed == 4, "files as a whole, and their stretches"
    made_good = main(dataclasses.replace(wanted, solutions=(config.out / "solutions",)))
    assert made_good["items"] == 2 and made_good["completion"]["here"] == first["completion"]["here"] | {
        "stretches": 2, "failed": 0,
    }  # fmt: skip
    summary = summarize(Store.open(wanted.out))
    assert summary.dropped == {} and summary.success == 1.0 and summary.landing.seconds == pytest.approx(0.6)


class InProcess:
    """A pool that works at once and where it is asked, so that a test can put something else in the worker's place."""

    def __init__(self, *_, **__): ...

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def shutdown(self, **__): ...

    def submit(self, work, *arguments):
        future = Future()
        future.set_result(work(*arguments))
        return future


def test_the_data_do_not_depend_on_processes_nor_on_where_the_collection_was_stopped(collected, clips, tmp_path):
    config, _ = collected
    solutions = (config.out / "solutions",)
    stopped = dataclasses.replace(config, motions=(str(clips / "long.txt"),), out=tmp_path / "set", solutions=solutions)
    assert main(stopped)["searched_s"] == 0.0, "the stored solution must be replayed"
    # the file alone is of the folder's source, so the whole folder goes on from it
    resumed = main(dataclasses.replace(config, out=tmp_path / "set", solutions=solutions, workers=2))
    assert resumed["items"] == 2 and resumed["searched_s"] == 0.0 and resumed["workers"] == 2
    first, second = Store.open(config.out), Store.open(tmp_path / "set")
    assert sorted(info.name for info in first.sequences) == sorted(info.name for info in second.sequences)
    for info in first.sequences:
        one, other = first.read(first.find(info.name)), second.read(second.find(info.name))
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_without_a_solution_and_without_search_a_clip_is_dropped_as_such(clips):
    [item] = list_items(list_clips([str(clips / "short.txt")]), SUBJECTS[1:2], [0])
    outcome = imitate_item(item, dataclasses.replace(QUICK, may_search=False))
    assert [(loss.reason, loss.subject) for loss in outcome.dropped] == [("no_solution", SUBJECTS[1].name)]
    assert outcome.kept == [] and not outcome.is_complete and "no stored solution" in outcome.error


def test_a_solution_that_no_longer_holds_is_searched_again(collected, clips, tmp_path):
    config, _ = collected
    [path] = (config.out / "solutions").rglob("short*.npz")
    solution = load_solution(path)
    [stretch] = solution.stretches
    # as if found on another machine: other states, and offsets that topple the body here
    spoiled = dataclasses.replace(
        stretch, offsets=stretch.offsets + np.int16(12000), state_hash=stretch.state_hash + np.uint64(1)
    )
    save_solution(tmp_path / "old" / "short.npz", dataclasses.replace(solution, stretches=(spoiled,)))
    [item] = list_items(list_clips([str(clips / "short.txt")]), SUBJECTS[:1], [0])
    outcome = imitate_item(item, QUICK, find_solutions([tmp_path / "old"]), tmp_path / "new")
    assert outcome.searched > 0.0 and outcome.inexact == 1
    assert outcome.is_complete and len(outcome.kept) == 1 and outcome.kept[0].flags == ()
    kept_as_found = imitate_item(item, dataclasses.replace(QUICK, may_search=False), find_solutions([tmp_path / "old"]))
    assert not kept_as_found.is_complete


def test_the_same_solution_gives_the_same_record_bit_for_bit(collected, clips):
    config, _ = collected
    [item] = list_items(list_clips([str(clips / "long.txt")]), SUBJECTS[:1], [0])
    outcome = imitate_item(item, QUICK, find_solutions([config.out / "solutions"]))
    assert outcome.searched == 0.0 and outcome.inexact == 0
    store = Store.open(config.out)
    stored = store.read(store.find("here/long@0.00"))
    np.testing.assert_array_equal(outcome.kept[0].impulse, stored.impulse)
    np.testing.assert_array_equal(outcome.kept[0].grf, stored.grf)


def test_without_a_terminal_progress_comes_in_plain_lines(tmp_path, arm_swing, monkeypatch, capsys):
    (tmp_path / "swing.txt").write_text(arm_swing(1.2))
    monkeypatch.setattr(collect, "SAID_EVERY", 0.0)
    main(Config(motions=(str(tmp_path / "swing.txt"),), out=tmp_path / "set", solutions=(), workers=1, imitation=QUICK))
    said = capsys.readouterr().err
    assert "\r" not in said and "collect: 1 of 1 items" in said
