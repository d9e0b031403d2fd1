"""Experts from real trials, and what is refused."""

import dataclasses

import numpy as np
import pytest

from dataset.lab.opensim import write_storage
from dataset.schema import ForcePlate, LabTrial
from dataset.skeleton import GRAVITY
from sim.gait import expert as command
from sim.gait.compare import compare_moments
from sim.gait.expert_build import ExpertConfig, analyse, build_expert
from sim.gait.expert_file import load_expert
from sim.gait.forces import foot_forces
from sim.gait.trial_files import TrialFiles, find_files


@pytest.fixture(scope="module")
def treadmill(data_dir):
    """The main expert: (measured, analysis, expert)."""
    measured = command.measure(find_files(data_dir / "lab/uhlrich_treadmill60s"))
    analysis = analyse(measured, ExpertConfig())
    return measured, analysis, build_expert(measured, analysis, ExpertConfig())


@pytest.mark.data
def test_the_treadmill_expert_follows_the_opensim_bodies_within_a_millimetre(treadmill):
    measured, _, expert = treadmill
    assert measured.error < 1e-3
    assert measured.segment_error.max() < 2e-3
    assert expert.body.total_mass == pytest.approx(86.04, abs=0.01)
    assert expert.facts["walking_speed"] == pytest.approx(1.23, abs=0.03)


@pytest.mark.data
def test_its_joint_moments_are_the_published_ones(treadmill):
    measured, analysis, _ = treadmill
    rows = {row.joint: row for row in compare_moments(measured, analysis)}
    for joint in ("hip flexion", "hip adduction", "knee flexion", "ankle flexion"):
        assert rows[joint].r > 0.98, joint
        assert rows[joint].rmse < 0.06, joint  # of ranges between 1.3 and 2.1 N·m/kg
    assert max(rows["knee flexion"].residual_force) < 0.05  # body weights
    assert rows["knee flexion"].mean_vertical == pytest.approx(1.0, abs=0.01)


@pytest.mark.data
def test_it_has_the_last_thirty_cycles_at_thirty_hertz(treadmill):
    _, analysis, expert = treadmill
    assert expert.cycles["count"].tolist()[1] == 30
    assert len(expert.strikes[1]) == 31
    assert expert.phase[0] == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(expert.wrench).all()
    assert np.isfinite(expert.moment).all()
    # over ground: the pelvis advances at the walking speed, and a stance foot's pressure centre does not slide with the belt
    assert np.ptp(expert.qpos[:, 0]) / ((expert.num_frames - 1) / 30.0) == pytest.approx(1.23, abs=0.03)
    last = analysis.forces.heel_strikes[1][-1]
    assert last <= analysis.time[-1]
    # an adult's knee: two flexion waves, the larger in swing
    knee = np.rad2deg(expert.cycles["angle"][:, 13])
    assert 55.0 < knee.max() < 75.0
    assert 65 <= knee.argmax() <= 80


@pytest.mark.data
def test_a_wrong_row_count_is_a_warning_with_both_counts(treadmill):
    _, _, expert = treadmill
    note = next(note for note in expert.facts["notes"] if "nrows" in note)
    assert "121120" in note
    assert "3028" in note
    assert any(line.startswith("warning: ") and "121120" in line for line in command.describe(expert, []))


@pytest.mark.data
def test_the_expert_walks_in_the_environment(treadmill):
    from sim.gait.environment import GaitEnvironment
    from sim.gait.environment_config import EnvironmentConfig

    environment = GaitEnvironment(treadmill[2], EnvironmentConfig(target="relative"), num_envs=64)
    environment.reset(0)
    _, _, terminated, _, info = environment.step(np.zeros((64, 23), np.float32))
    # one step from the expert's own states: nobody falls, the pose is nearly the expert's
    assert not terminated.any()
    assert info["pose"].mean() > 0.95
    assert environment.last.ground[..., 2].sum(axis=2).mean() / environment.gait.weight == pytest.approx(1.0, abs=0.5)
    environment.close()


@pytest.mark.data
@pytest.mark.parametrize(
    ("trial", "static", "worst"),
    [
        ("gaitalytics/treadmill_events.c3d", None, 8e-3),
        ("schreiber2019/2015032/2015032_C4_03.c3d", "schreiber2019/2015032/2015032_ST.c3d", 8e-3),
    ],
)
def test_experts_from_markers(data_dir, tmp_path, trial, static, worst):
    lab = data_dir / "lab"
    config = command.Config(trial=lab / trial, static=static and lab / static, out=tmp_path / "expert.npz")
    expert, _ = command.main(config)
    assert expert.facts["fit_error_mm"] < 1e3 * worst
    assert expert.facts["mean_vertical_bw"] == pytest.approx(1.0, abs=0.05)
    assert max(expert.facts["residual_force_bw"]) < 0.06
    assert load_expert(tmp_path / "expert.npz").num_frames == expert.num_frames


@pytest.fixture
def walk():
    """Markers of two feet that step alternately on a belt, with one plate that takes everything: (trial, plate)."""
    time = np.arange(400) / 100.0
    names, paths = [], []
    for side, at in (("L", 0.0), ("R", 0.5)):
        part = (time + at) % 1.0
        x = np.where(part < 0.6, 0.36 - 1.2 * part, -0.36 + 1.8 * (part - 0.6))
        z = np.where(part < 0.6, 0.0, 0.12 * np.sin(np.pi * (part - 0.6) / 0.4))
        for name, ahead in (("HEE", 0.0), ("TOE", 0.2)):
            names.append(side + name)
            paths.append(np.column_stack([x + ahead, np.full(400, 0.1 if side == "L" else -0.1), 0.03 + z]))
    for name, y in (("LASI", 0.12), ("RASI", -0.12)):
        names.append(name)
        paths.append(np.column_stack([np.full(400, 0.1), np.full(400, y), np.full(400, 0.95)]))
    force = np.tile([0.0, 0.0, 700.0], (400, 1))
    trial = LabTrial(
        name="belt", path="belt.c3d", marker_names=tuple(names), marker_rate=100.0, time=time,
        markers=np.stack(paths, axis=1),
    )  # fmt: skip
    return trial, ForcePlate(rate=100.0, force=force, moment=np.zeros((400, 3)), name="Fz1")


def test_a_treadmill_with_one_force_channel_is_refused(walk):
    trial, plate = walk
    with pytest.raises(ValueError, match=r"belt.c3d: force channels: .* single channel 'Fz1' .* split belt"):
        foot_forces(dataclasses.replace(trial, plates=(plate,)), 10.0)


def test_a_trial_without_forces_is_refused(walk):
    with pytest.raises(ValueError, match="expected force plates or foot wrenches, found none"):
        foot_forces(walk[0], 10.0)


def test_heel_strikes_are_where_the_force_rises_over_twenty_newton(walk):
    trial, _ = walk
    time = np.arange(4000) / 1000.0
    wrench = np.zeros((4000, 2, 6))
    for foot, at in enumerate((0.0, 0.5)):
        part = (time + at) % 1.0
        wrench[:, foot, 2] = np.where(part < 0.6, 800.0 * np.sin(np.pi * part / 0.6), 0.0)
    forces = foot_forces(dataclasses.replace(trial, foot_wrench=wrench, foot_rate=1000.0), 10.0)
    rise = 0.6 / np.pi * np.arcsin(20.0 / 800.0)
    np.testing.assert_allclose(forces.heel_strikes[0], np.arange(4) + rise, atol=0.002)
    np.testing.assert_allclose(forces.heel_strikes[1], np.arange(4) + 0.5 + rise, atol=0.002)
    assert forces.belt_velocity[0] == pytest.approx(-1.2, abs=0.05)
    assert forces.wrench[:, 0, 2].max() / GRAVITY == pytest.approx(800.0 / GRAVITY, rel=0.05)


def test_forces_named_for_the_wrong_foot_are_refused(walk):
    trial, _ = walk
    time = np.arange(4000) / 1000.0
    wrench = np.zeros((4000, 2, 6))
    for foot, at in enumerate((0.5, 0.0)):  # the left foot's force in the right foot's columns
        wrench[:, foot, 2] = np.where((time + at) % 1.0 < 0.6, 700.0, 0.0)
    with pytest.raises(ValueError, match=r"belt.c3d: force columns: .* found them exchanged .* swap l and r"):
        foot_forces(dataclasses.replace(trial, foot_wrench=wrench, foot_rate=1000.0), 10.0)
    foot_forces(dataclasses.replace(trial, foot_wrench=wrench[:, ::-1].copy(), foot_rate=1000.0), 10.0)


@pytest.mark.data
def test_forces_in_another_unit_are_refused(treadmill):
    measured = treadmill[0]
    plates = tuple(
        dataclasses.replace(plate, force=plate.force / 4.448, moment=plate.moment / 4.448)
        for plate in measured.trial.plates
    )
    pounds = dataclasses.replace(measured, trial=dataclasses.replace(measured.trial, plates=plates))
    with pytest.raises(
        ValueError, match=r"0\.75 to 1\.25 body weights of .* found 0\.22[0-9]; check the unit of the forces"
    ):
        analyse(pounds, ExpertConfig())


def test_files_are_told_by_what_stands_in_them(tmp_path):
    time = np.array([0.0, 0.1])
    write_storage(tmp_path / "a.sto", time, ["hip_flexion_r", "knee_angle_r"], np.zeros((2, 2)))
    write_storage(tmp_path / "b.mot", time, ["1_ground_force_vx"], np.zeros((2, 1)))
    write_storage(tmp_path / "c.sto", time, ["hip_flexion_r_moment"], np.zeros((2, 1)))
    (tmp_path / "person.osim").write_text("")
    assert find_files(tmp_path) == TrialFiles(
        motion=tmp_path / "a.sto", model=tmp_path / "person.osim", forces=tmp_path / "b.mot", moments=tmp_path / "c.sto"
    )
    write_storage(tmp_path / "d.mot", time, ["ground_force_1_vx"], np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"expected one file of forces, found b.mot, d.mot; name it: --forces"):
        find_files(tmp_path)
    with pytest.raises(ValueError, match=r"c.sto: columns: expected the coordinates .* found moments"):
        find_files(tmp_path / "c.sto")
    with pytest.raises(FileNotFoundError):
        find_files(tmp_path / "none.c3d")


def test_markers_without_forces_say_which_option(tmp_path, data_dir):
    static = data_dir / "lab/schreiber2019/2014019/2014019_ST.c3d"
    with pytest.raises(ValueError, match=r"forces: expected force plates in the file, found none; .* --forces"):
        command.measure(TrialFiles(motion=static))
