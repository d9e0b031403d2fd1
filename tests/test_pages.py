"""Figures in the pages are those of the committed tables, and the tables reach what was to be reached."""

import csv
import json
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results"
README = (ROOT / "README.md").read_text()
ON_ONE_LINE = " ".join(README.split())


def rows_of(name):
    with open(RESULTS / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def laboratory():
    """Rows of the laboratory table by group and predictor, as shipped."""
    rows = json.loads((RESULTS / "lab_table.json").read_text())["rows"]
    return {(row["group"], row["predictor"]): row["shipped"] | {"trials": row["num_trials"]} for row in rows}


def bare(value):
    """Two to three decimals without the leading zero."""
    return f"{value:.3f}".removeprefix("0")


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("schreiber2019, preferred speed", "schreiber2019 preferred"), ("schreiber2019, fast", "schreiber2019 fast"),
        ("opencap_subject4", "opencap_subject4"), ("biomechzoo_children, straight", "biomechzoo_children straight"),
        ("biomechzoo_children, turning", "biomechzoo_children turn"),
        ("lenhart2015 (nothing was chosen on it)", "lenhart2015"),
    ],
)  # fmt: skip
def test_the_first_page_has_the_rows_of_the_laboratory_table(laboratory, label, group):
    cells = [f"{laboratory[group, 'half the weight on each foot']['all_frames']:.2f}"]
    for predictor in ("weight over marker contact", "imdys", "imdys+physics", "physics"):
        row = laboratory[group, predictor]
        cells.append(f"{row['all_frames']:.2f} ({bare(row['vertical_correlation'])})")
    assert f"| {label}, {row['trials']} | {' | '.join(cells)} |" in README


def test_the_solver_beats_the_mean_everywhere_and_contact_on_loaded_frames_in_two_of_three_sets(laboratory):
    groups = {group for group, _ in laboratory}
    for group in groups:
        for solver in ("imdys", "imdys+physics"):
            assert laboratory[group, solver]["all_frames"] < laboratory[group, "training mean"]["all_frames"], group
    sets = ("schreiber2019 preferred", "opencap_subject4", "biomechzoo_children straight")
    for contact in ("weight over marker contact", "weight over plate contact"):
        loaded = [[laboratory[group, one]["loaded_vertical"] for one in ("imdys+physics", contact)] for group in sets]
        assert sum(ours < theirs for ours, theirs in loaded) >= 2, contact


def test_the_first_page_says_what_was_collected():
    *sources, whole = rows_of("collection.csv")
    asked, kept, cut, landing = (float(whole[name]) for name in ("asked_s", "kept_s", "cut_s", "landing_s"))
    assert asked == pytest.approx(sum(float(row["asked_s"]) for row in sources), abs=0.5)
    assert kept == pytest.approx(sum(float(row["kept_s"]) for row in sources), abs=0.5)
    for words in (
        f"{whole['stretches']} stretches of",
        f"{asked / 60:.1f} minutes, imitated",
        f"{whole['whole']} stretches are tracked whole",
        f"{100 * cut / asked:.1f} % of the time is lost and {100 * landing / asked:.1f} % is the landing",
        f"{kept / 60:.1f} minutes of records remain",
        f"to {float(whole['closure_max_bw']):.0e} body weights",
        f"to {100 * float(whole['momentum_median_bw']):.2f} % of body weight in the median",
    ):
        assert words in ON_ONE_LINE, words
    assert kept >= 30 * 60
    assert sum(float(row["kept_s"]) >= 180 for row in sources) >= 5
    assert float(whole["closure_max_bw"]) < 1e-8
    assert float(whole["momentum_median_bw"]) <= 0.01


def test_the_first_page_says_how_well_clips_are_imitated():
    clips = {row["clip"]: row for row in rows_of("embedded.csv")}
    assert len(clips) == 15
    assert {(row["complete"], row["exact"], row["retries"]) for row in clips.values()} == {("yes", "yes", "0")}
    rates = [float(row["search_s_per_s"]) for row in clips.values()]
    errors = {name: int(row["error_mm"]) for name, row in clips.items()}
    words = (
        f"none retried, {statistics.mean(errors.values()):.0f} mm from the motion in the mean (walk {errors['walk']}, run "
        f"{errors['run']}, punch {errors['punch']}), {min(rates)} to {max(rates)} s of one core a second of motion"
    )
    assert words in ON_ONE_LINE
    assert max(rates) <= 8.0
    seconds = [float(clips[name]["clip_s"]) for name in ("walk", "run")]
    spent = [
        float(clips[name]["search_s_per_s"]) * length for name, length in zip(("walk", "run"), seconds, strict=True)
    ]
    assert sum(spent) / sum(seconds) <= 4.0


def test_the_pages_say_how_walks_are_walked():
    rows = [{name: number(value) for name, value in row.items()} for row in rows_of("cmu_walks.csv")]
    page = " ".join((ROOT / "docs" / "imitation.md").read_text().split())

    def span(*names):
        values = [row[name] for row in rows for name in names]
        return f"{min(values):.2f} to {max(values):.2f}".replace("0.", ".")

    stances = [row[name] for row in rows for name in ("stance_left", "stance_right")]
    middle = f"{statistics.median(stances):.2f}".removeprefix("0")
    assert f"stance {span('stance_left', 'stance_right')} of the stride, median {middle}" in ON_ONE_LINE
    assert f"single-foot peaks {span('peak_left_bw', 'peak_right_bw')}" in ON_ONE_LINE
    assert f"at {span('r_hip')} (hip), {span('r_knee')} (knee), {span('r_ankle')} (ankle)" in ON_ONE_LINE
    held = [held_by(row) for row in rows]
    pressing, alike, standing = (sum(part) for part in zip(*held, strict=True))
    assert pressing == len(rows) == 36
    said = f"{alike} the correlations, {standing} stance, {sum(map(all, held))} everything"
    assert f"Of its 36 rows all hold force and peaks (1.04 to 1.35), {said}" in page


def number(text):
    try:
        return float(text)
    except ValueError:
        return float("nan")


def held_by(row):
    """Whether a walk keeps the bounds of people on force plates: force, torques, stance."""
    peaks, stances = [row["peak_left_bw"], row["peak_right_bw"]], [row["stance_left"], row["stance_right"]]
    return (
        round(100 * abs(row["force_mean_bw"] - 1.0)) <= 1 and min(peaks) >= 1.0 and max(peaks) <= 1.35,
        row["r_hip"] >= 0.9 and row["r_knee"] >= 0.82 and row["r_ankle"] >= 0.85,
        min(stances) >= 0.58 and max(stances) <= 0.66,
    )


def test_the_page_of_the_gait_study_has_the_numbers_of_its_results():
    page = (ROOT / "docs" / "gait.md").read_text()
    arms = json.loads((RESULTS / "gait_study" / "results.json").read_text())["arms"]
    joints = ("hip_flexion", "knee_flexion", "ankle_flexion")
    for name, label in (("kinematic", "R^k"), ("grf", "+ R^grf"), ("cop", "+ R^cop"), ("all", "ALL")):
        arm, seeds = arms[name], list(arms[name]["seeds"].values())
        angle = max(value for seed in seeds for value in seed["joint_rmse_deg"].values())
        pressure = sorted(seed["cop_rmse_pct_fl"]["mean"] for seed in seeds)
        moments = ", ".join(f"{arm['moment_rmse_nm_kg'][joint]:.3f}" for joint in joints)
        spread = [sorted(seed["moment_r"][joint] for seed in seeds) for joint in joints]
        likeness = ", ".join(
            f"{arm['moment_r'][joint]:.2f} ({low:.2f}–{high:.2f})"
            for joint, (low, _, high) in zip(joints, spread, strict=True)
        )
        row = (
            f"| {label} | {arm['kinematic_reward']:.3f} | {arm['grf_reward']:.3f} | {arm['cop_reward']:.3f} | {angle:.1f}° | "
            f"{arm['cop_rmse_pct_fl']['mean']:.1f} ({pressure[0]:.1f}–{pressure[-1]:.1f}) | {moments} | {likeness} | "
            f"{arm['residual_force_pct_bw']:.1f} % BW, {arm['residual_moment_nm']:.0f} N·m |"
        )
        assert row in page, row
    before, after = arms["kinematic"], arms["all"]
    moments, likeness = (
        [", ".join(f"{arm[field][joint]:.2f}".removeprefix(zero) for joint in joints) for arm in (before, after)]
        for field, zero in (("moment_rmse_nm_kg", ""), ("moment_r", "0"))
    )
    first_page = (
        f"from {before['cop_rmse_pct_fl']['mean']:.1f} to {after['cop_rmse_pct_fl']['mean']:.1f} % of foot length and the joint "
        f"moments' from {moments[0]} to {moments[1]} N·m/kg at hip, knee and ankle (correlations from {likeness[0]} to "
        f"{likeness[1]}), with {after['residual_force_pct_bw']:.1f} % of body weight of residual force"
    )
    assert first_page in ON_ONE_LINE


def test_the_page_of_the_body_has_the_medians_of_its_table():
    page = (ROOT / "docs" / "body.md").read_text()
    with open(ROOT / "docs" / "body_fit.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for label in ("opencap_subject4, one adult", "biomechzoo_children, six", "schreiber2019, nine adults"):
        person = label.split("_")[0].split(",")[0]
        mine, cells = [row for row in rows if row["person"].startswith(person)], []
        for name in ("standing_mm", "walking_mm", "fit_s", "walk_frames_per_s"):
            values, digits = [float(row[name]) for row in mine], 0 if name == "walk_frames_per_s" else 1
            middle, low, high = (
                f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
            )
            cells.append(middle if len(mine) == 1 else f"{middle} ({low} to {high})")
        assert f"| {label} | {mine[0]['markers']} | {' | '.join(cells)} |" in page, cells
