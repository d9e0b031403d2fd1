"""`python -m sim.track` on a second of motion: what it says is true of the replay, whatever the solution's file says."""

import csv
import dataclasses

import pytest

from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS
from sim import track
from sim.humanoid import make_humanoid
from sim.imitation.solution import load_solution, save_solution
from sim.imitation.tracker.config import SearchConfig
from sim.work_items import list_clips

QUICK = SearchConfig(samples=4, rounds=1, knots=3)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, arm_swing):
    """A clip of 1.2 s, tracked, with its animation and table: (config, rows)."""
    folder = tmp_path_factory.mktemp("track")
    (folder / "swing.txt").write_text(arm_swing(1.2))
    config = track.Config(
        clips=(str(folder / "swing.txt"),), search=QUICK, solutions=folder / "solutions", workers=1, seeds=(0,),
        table=folder / "table" / "rows.csv", view=True, out=folder / "views",
    )  # fmt: skip
    return config, track.main(config)


def stored(config):
    [path] = config.solutions.glob("*.npz")
    return path


def test_a_row_says_how_the_clip_was_followed(tracked):
    config, [row] = tracked
    assert row.is_complete and row.is_exact and row.search_rate > 0.0
    with config.table.open(newline="", encoding="utf-8") as file:
        [cells] = csv.DictReader(file)
    assert tuple(cells) == track.COLUMNS
    assert (cells["clip"], cells["complete"], cells["exact"]) == ("swing@0.00", "yes", "yes")
    assert float(cells["force_mean_bw"]) == pytest.approx(1.0, abs=0.1)
    assert (cells["strides_left"], cells["stance_left"], cells["peak1_left_bw"]) == ("0", "-", "-"), "nobody walks"
    assert all(-1.0 <= float(cells[name]) <= 1.0 for name in ("r_knee", "r_knee_followed"))


def test_another_motion_of_the_same_name_does_not_overwrite_a_solution(tracked, tmp_path, arm_swing):
    config, _ = tracked
    (tmp_path / "swing.txt").write_text(arm_swing(1.5))
    folder = tmp_path / "solutions"
    copied = folder / stored(config).name
    save_solution(copied, load_solution(stored(config)))
    track.main(
        dataclasses.replace(config, clips=(str(tmp_path / "swing.txt"),), solutions=folder, view=False, table=None)
    )
    hashes = {load_solution(path).motion_hash for path in folder.glob("*.npz")}
    assert len(hashes) == 2 and load_solution(copied).motion_hash == load_solution(stored(config)).motion_hash


def test_every_subject_imitates_every_clip(tracked, tmp_path):
    config, [row] = tracked
    both = ("neutral172", "female163")
    settings = {"subjects": both, "solutions": tmp_path, "view": True, "out": tmp_path, "table": None}
    rows = track.main(dataclasses.replace(config, **settings))
    assert [(r.clip, r.subject) for r in rows] == [(row.clip, subject) for subject in both]
    assert len(list(tmp_path.glob("*.npz"))) == len(list(tmp_path.glob("*.html"))) == 2


def test_a_refused_file_costs_no_other_clip_its_row(tracked, tmp_path):
    config, [row] = tracked
    bad, table = tmp_path / "bad.txt", tmp_path / "rows.csv"
    bad.write_text("{}")
    with pytest.raises(ValueError, match="bad"):
        track.main(dataclasses.replace(config, clips=(str(bad), *config.clips), view=False, table=table))
    with table.open(newline="", encoding="utf-8") as file:
        assert [cells["clip"] for cells in csv.DictReader(file)] == [row.clip]


def test_a_damaged_solution_does_not_cost_a_search(tracked, tmp_path):
    config, _ = tracked
    file = tmp_path / stored(config).name
    file.write_bytes(stored(config).read_bytes()[:50])
    track.main(dataclasses.replace(config, solutions=tmp_path, view=False, table=None))
    assert load_solution(file).is_complete


@pytest.mark.parametrize("subjects", [(), ("nobody",)])
def test_subjects_are_checked_before_any_work(tracked, subjects):
    with pytest.raises(ValueError, match="subject"):
        track.main(dataclasses.replace(tracked[0], subjects=subjects))


def test_the_animation_shows_the_imitation_beside_the_motion(tracked):
    [page] = tracked[0].out.glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert "imitation" in text and "reference" in text and len(text) > 10_000


def test_a_stored_solution_is_replayed_and_not_searched(tracked, monkeypatch):
    config, [row] = tracked
    monkeypatch.setattr(track, "solve", None)
    [again] = track.main(dataclasses.replace(config, view=False, table=None))
    assert again.search_rate == 0.0 and again.is_complete and again.is_exact
    assert again.assessment.error_mm == row.assessment.error_mm


def test_a_replay_that_falls_is_not_complete_whatever_the_file_says(tracked, tmp_path, monkeypatch):
    config, _ = tracked
    solution = load_solution(stored(config))
    [stretch] = solution.stretches
    offsets = stretch.offsets.copy()
    offsets[1:] += 16000  # as if another machine had found them
    spoiled = dataclasses.replace(stretch, offsets=offsets, state_hash=stretch.state_hash + 1)
    save_solution(tmp_path / "old" / "swing.npz", dataclasses.replace(solution, stretches=(spoiled,)))
    assert load_solution(tmp_path / "old" / "swing.npz").is_complete
    searched = []
    monkeypatch.setattr(track, "solve", lambda *_, seed, **__: searched.append(seed) or solution)
    # the limit is what such a fall comes to in a second
    retry = dataclasses.replace(config.retry, success_error=0.1)
    changed = dataclasses.replace(config, view=False, table=None, solutions=tmp_path / "old", retry=retry, seeds=(0, 1))
    [row] = track.main(changed)
    assert searched == [0], "what this machine does not reproduce is searched again, with the same seed"
    assert row.is_complete and row.is_exact
    monkeypatch.setattr(track, "solve", lambda *_, seed, **__: load_solution(tmp_path / "old" / "swing.npz"))
    [row] = track.main(dataclasses.replace(changed, is_fresh=True))
    assert not row.is_complete and not row.is_exact


def test_an_incomplete_stored_solution_does_not_end_the_ladder_of_seeds(tracked, tmp_path, monkeypatch):
    config, _ = tracked
    solution = load_solution(stored(config))
    [stretch] = solution.stretches
    half = dataclasses.replace(
        stretch, offsets=stretch.offsets[:10], error_mm=stretch.error_mm[:10], state_hash=stretch.state_hash[:0]
    )
    save_solution(tmp_path / "half.npz", dataclasses.replace(solution, stretches=(half,)))
    searched = []

    def found(*_, seed, **__):
        searched.append(seed)
        return dataclasses.replace(solution, seed=seed, stretches=(stretch,) if seed == 2 else (half,))

    monkeypatch.setattr(track, "solve", found)
    changed = dataclasses.replace(config, view=False, table=None, solutions=tmp_path, seeds=(0, 1, 2, 3))
    [row] = track.main(changed)
    assert searched == [1, 2] and row.is_complete
    assert load_solution(tmp_path / f"swing@0.00_{SUBJECTS[0].name}_2.npz").is_complete
    searched.clear()
    [row] = track.main(changed)
    assert searched == [] and row.is_complete, "the complete one is found among the stored"


def test_a_motion_with_a_report_brings_it_along(tmp_path, arm_swing):
    (tmp_path / "swing.txt").write_text(arm_swing(1.2))
    [clip] = list_clips([str(tmp_path / "swing.txt")])
    loaded = clip.load(make_humanoid(make_body(SUBJECTS[0])).body)
    assert loaded.mapping is None and loaded.notes == () and loaded.screening is not None
    assert [motion.name for motion in loaded.motions] == ["swing@0.00"]


def test_a_clip_that_does_not_exist_is_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["track", "nothing"])
    assert track.run_command("track", track.run) == 2
    assert "nothing" in capsys.readouterr().err
