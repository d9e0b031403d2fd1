"""Solutions that come with the project still do what the tables in `docs/results` say, and imitate as people move.

A replay is the same to the last bit with the engine and the type of processor that searched it. Elsewhere it may part from the
search: then these tests say so and skip, and `sim.collect` and `sim.track` search again.
"""

import csv
import hashlib
from functools import cache
from pathlib import Path

import mujoco
import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.body.subjects import SUBJECTS, subject_by_name
from dataset.motion.embedded import CLIP_NAMES
from dataset.motion.plan import read_plan
from sim import track
from sim.humanoid import make_humanoid
from sim.imitate_clip import ImitationConfig, find_solutions, imitate_item
from sim.imitation.assess import assess, is_tracked_throughout
from sim.imitation.solution import body_hash, load_solution, motion_hash
from sim.imitation.tracker.reference import make_reference
from sim.imitation.tracker.solve import replay
from sim.work_items import list_clips, list_items

ROOT = Path(__file__).resolve().parents[2]
WALKS = {
    "cmu_amc/02/02_01.amc": "female170", "snu_vsports/cmu16/16_15_1.bvh": "neutral172",
    "snu_vsports/cmu16/16_31_1.bvh": "female163", "snu_vsports/cmu16/16_32_1.bvh": "neutral172",
    "snu_vsports/cmu16/16_58_1.bvh": "neutral172",
}  # fmt: skip
"""The walks of `solutions/walks` and who walks them."""
AS_PEOPLE = (0.9, 0.82, 0.85)
"""Least correlation of hip, knee and ankle flexion torque with inverse dynamics."""
TUMBLER = """<mujoco><option timestep="0.005" integrator="implicitfast" cone="pyramidal"/><worldbody>
<geom type="plane" size="0 0 1" friction="0.8"/><body pos="0 0 0.8" euler="20 30 40"><freejoint/>
<geom type="box" size="0.1 0.15 0.2"/><body pos="0 0 0.25"><joint type="ball" damping="0.3"/>
<geom type="capsule" fromto="0 0 0 0.1 0 0.3" size="0.05"/></body></body></worldbody></mujoco>"""
TUMBLED = "c2b2705977ec5bc9"
"""Its states over 2 s, hashed, with the engine and on the processor type that searched the solutions."""


def committed(name):
    """Rows of a table in `docs/results` by clip and subject; the last column is how long the search took."""
    with open(ROOT / "docs" / "results" / name, newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == track.COLUMNS
    return {(row[0], row[1]): row[:-1] for row in rows}


def replayed(humanoid, motion, folder):
    """The row of a stored solution as it replays here; nothing is searched."""
    stored = find_solutions([ROOT / "solutions" / folder])
    key = (motion_hash(motion), body_hash(humanoid.body, humanoid.config), 0)
    assert key in stored, f"no solution of {motion.name} fits: the motion or the body has changed since the search"
    solution = load_solution(stored[key])
    parts, reference = replay(humanoid, motion, solution), make_reference(humanoid, motion)
    return track.Row(
        clip=motion.name, subject=humanoid.body.subject.name, retries=solution.num_retries, search_rate=0.0,
        is_complete=is_tracked_throughout(humanoid, reference, solution, parts, 0.5),
        is_exact=all(part.exact_seconds == len(part.stretch.state_hash) for part in parts),
        tracked=sum(part.trace.num_substeps * part.trace.substep for part in parts), seconds=motion.duration,
        assessment=assess(humanoid, reference, parts[0]),
    )  # fmt: skip


@cache
def is_the_engine_of_the_search():
    """Whether MuJoCo rounds here as where the solutions were found, by a tumbling body that has nothing of ours."""
    model = mujoco.MjModel.from_xml_string(TUMBLER)
    data, states = mujoco.MjData(model), hashlib.sha256()
    for _ in range(400):
        mujoco.mj_step(model, data)
        states.update(data.qpos.tobytes() + data.qvel.tobytes())
    return states.hexdigest()[:16] == TUMBLED


def skip_elsewhere(what):
    """Skips on another engine or processor; on this one a replay that left its search is a defect."""
    assert not is_the_engine_of_the_search(), (
        f"{what}: the code between motion and physics has changed since the search"
    )
    pytest.skip(f"{what}: MuJoCo or the processor rounds otherwise than where the solution was searched")


def exact(row):
    """The row, if the replay is the search to the last bit."""
    if not row.is_exact:
        skip_elsewhere(row.clip)
    return row


@pytest.fixture(scope="module")
def imitated():
    """The rows of the embedded clips."""
    person, rows = make_humanoid(make_body(SUBJECTS[0])), {}

    def row_of(name):
        if name not in rows:
            [clip] = list_clips((f"embedded/{name}",))
            [motion] = clip.motions(person.body)
            rows[name] = replayed(person, motion, "embedded")
        return exact(rows[name])

    return row_of


@pytest.mark.parametrize("name", CLIP_NAMES)
def test_an_embedded_clip_is_imitated_as_the_table_says(imitated, name):
    row = imitated(name)
    assert track._cells(row)[:-1] == committed("embedded.csv")[name, SUBJECTS[0].name]
    assert row.is_complete
    assert row.assessment.error_max_mm < 500.0


def test_walk_run_and_punch_are_within_60_mm_and_all_within_100_mm(imitated):
    rows = {name: imitated(name) for name in CLIP_NAMES}
    for name in ("walk", "run", "punch"):
        assert rows[name].assessment.error_median_mm <= 60.0, name
    errors = [row.assessment.error_mm for row in rows.values()]
    assert sum(errors) / len(errors) <= 100.0


def test_the_looped_walk_presses_as_people_do(imitated):
    figures = imitated("walk").assessment
    walks_as_people(figures)
    assert figures.torque_correlation[0] >= 0.9
    # Of the cycle as it is knee and ankle fall short, since no floor gives what it asks for: docs/imitation.md.
    assert np.all(np.array(figures.followed_correlation) >= AS_PEOPLE)


@pytest.mark.data
@pytest.mark.parametrize("path", WALKS)
def test_a_measured_walk_is_walked_as_people_do(data_dir, path):
    humanoid = make_humanoid(make_body(subject_by_name(WALKS[path])))
    [clip] = list_clips((str(data_dir / "motion" / path),))
    [motion] = clip.motions(humanoid.body)
    row = exact(replayed(humanoid, motion, "walks"))
    assert track._cells(row)[:-1] == committed("cmu_walks.csv")[row.clip, WALKS[path]]
    assert row.is_complete
    walks_as_people(row.assessment)
    assert np.all(np.array(row.assessment.torque_correlation) >= AS_PEOPLE)


def walks_as_people(figures):
    """Force, peaks and stance of people on force plates."""
    assert figures.force_mean == pytest.approx(1.0, abs=0.01)
    for foot, peak in zip(figures.feet, figures.foot_peak, strict=True):
        assert 1.0 <= peak <= 1.35
        assert 0.575 <= foot.stance_share < 0.665  # .58 to .66, as it is written with two digits


@pytest.mark.data
def test_a_stretch_of_each_source_of_the_plan_is_recorded_from_its_stored_solution(data_dir):
    plan = ROOT / "solutions" / "plan.csv"
    items = list_items(list_clips((str(plan),), data_dir / "motion"), SUBJECTS, (0,), "turn")
    shortest = {}
    for item, stretch in zip(items, read_plan(plan), strict=True):
        length = stretch.end_s - stretch.start_s
        if stretch.source not in shortest or length < shortest[stretch.source][0]:
            shortest[stretch.source] = length, item
    assert len(shortest) == 7
    stored = find_solutions([ROOT / "solutions" / source for source in shortest])
    assert len(stored) == len(items)
    for source, (_, item) in shortest.items():
        outcome = imitate_item(item, ImitationConfig(may_search=False), stored)
        assert not outcome.error, source
        if outcome.inexact:
            skip_elsewhere(source)
        assert outcome.kept, source
        assert outcome.report.closure_max < 1e-8
