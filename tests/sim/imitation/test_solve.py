"""Search, storage and replay of solutions."""

import dataclasses
import json

import numpy as np
import pytest

from sim.engine_warnings import engine_warnings
from sim.humanoid import make_humanoid
from sim.imitation.assess import assess
from sim.imitation.solution import load_solution, save_solution
from sim.imitation.tracker.config import SearchConfig
from sim.imitation.tracker.reference import make_reference
from sim.imitation.tracker.residuals import LOST
from sim.imitation.tracker.search import Tracker
from sim.imitation.tracker.solve import followed_reference, forget_references, replay, solve


def test_swaying_is_tracked_to_a_few_centimetres(standing, sway, solution):
    part = replay(standing, sway, solution)[0]
    figures = assess(standing, make_reference(standing, sway), part)
    assert solution.is_complete
    assert figures.error_mm < 40.0
    assert figures.force_mean == pytest.approx(1.0, abs=0.05)


def test_replay_is_the_search_bit_for_bit(standing, sway, solution):
    forget_references()  # the replay makes its own, from the pushing forces that the solution holds
    part = replay(standing, sway, solution)[0]
    assert len(part.stretch.state_hash) == 1
    assert part.exact_seconds == 1


def test_the_same_seed_finds_the_same_solution(standing, sway, solution):
    again = solve(standing, sway, seed=3, search=SearchConfig(samples=8, rounds=1))
    other = solve(standing, sway, seed=4, search=SearchConfig(samples=8, rounds=1))
    assert again.identity == solution.identity
    assert other.identity != solution.identity


def test_a_solution_survives_its_file(tmp_path, solution):
    save_solution(tmp_path / "a.npz", solution)
    loaded = load_solution(tmp_path / "a.npz")
    assert loaded.identity == solution.identity
    bare = [dataclasses.asdict(dataclasses.replace(one, stretches=(), pushing=())) for one in (loaded, solution)]
    assert bare[0] == bare[1]
    np.testing.assert_array_equal(loaded.stretches[0].offsets, solution.stretches[0].offsets)
    assert len(loaded.pushing) == 2
    assert all(np.array_equal(one, other) for one, other in zip(loaded.pushing, solution.pushing, strict=True))
    assert (tmp_path / "a.npz").stat().st_size < 8000


def test_a_file_of_the_first_format_replays_the_same(tmp_path, standing, sway, solution):
    save_solution(tmp_path / "a.npz", solution)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "pushing"}
    header = json.loads(arrays["header"].tobytes()) | {"format": "imdylab-solution-1"}
    del header["pushing"]
    np.savez(tmp_path / "a.npz", **{**arrays, "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)})
    first = load_solution(tmp_path / "a.npz")
    assert first.pushing == ()
    forget_references()
    (part,) = replay(standing, sway, first)
    assert part.exact_seconds == len(part.stretch.state_hash) > 0


def test_a_solution_of_another_motion_or_body_is_refused(standing, sway, solution):
    moved = dataclasses.replace(sway, root_pos=sway.root_pos + 0.01)
    with pytest.raises(ValueError, match="expected motion"):
        replay(standing, moved, solution)
    heavy = dataclasses.replace(standing.body, mass=1.1 * standing.body.mass)
    with pytest.raises(ValueError, match="expected body"):
        replay(make_humanoid(heavy), sway, solution)


@pytest.mark.parametrize("damage", ["cut", "text", "offsets", "pushing", "absent", "header"])
def test_a_damaged_solution_file_is_named(tmp_path, solution, damage):
    path = tmp_path / "broken.npz"
    if damage in ("offsets", "pushing", "absent"):
        save_solution(path, solution)
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        name = "state_hash" if damage == "absent" else damage
        left = {key: values for key, values in arrays.items() if key != name}
        np.savez(path, **left if damage == "absent" else {**left, name: arrays[name][:-2]})
    elif damage == "header":
        save_solution(path, solution)
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        header = json.loads(arrays["header"].tobytes())
        del header["num_knots"]
        np.savez(path, **arrays | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)})
    else:
        save_solution(path, solution)
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else b"not a solution")
    with pytest.raises(ValueError, match=r"broken\.npz"):
        load_solution(path)


def test_samples_that_the_engine_gave_up_are_lost_and_what_is_executed_goes_back(standing, sway):
    """A servo target beyond MuJoCo's bounds: the engine warns, stops, and repeats a state that looks fine."""
    followed = followed_reference(standing, sway)
    tracker = Tracker(standing, followed.reference, followed.base, SearchConfig(samples=2, rounds=1))
    start, held = tracker.reference_moment(0), np.zeros(len(tracker.columns))
    plans = np.zeros((2, tracker.search.knots, len(tracker.columns)))
    plans[1, 3:] = 1e12
    found = tracker._evaluate(start, held, plans, tracker._window(0, tracker.search), tracker.search)
    assert found.residual[1, 0] == LOST and np.abs(found.residual[0]).max() < LOST
    before = engine_warnings()
    assert np.all(np.isfinite(tracker.execute(start, 0, held, plans[0, 0]).state))
    gone = tracker.execute(start, 0, held, plans[1, 3])
    assert np.isnan(tracker.body_error(gone.state, 1))
    assert engine_warnings() - before == {"BADCTRL": 1}


def test_a_planning_step_that_does_not_fit_is_refused(standing, sway):
    with pytest.raises(ValueError, match="planning_substep"):
        solve(standing, sway, search=SearchConfig(planning_substep=1.0 / 500.0))
