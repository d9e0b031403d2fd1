"""The list of stretches to track: file, cutting, choice, and the committed list itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dataset.body.model import BodyModel
from dataset.motion.plan import (
    Candidate,
    Config,
    PlannedStretch,
    choose,
    cut,
    main,
    planned_motion,
    read_plan,
    summary,
    unique_minutes,
    write_plan,
)
from dataset.motion.screen import screen_motion
from dataset.motion.tag import PLAIN_WALK, motion_tag
from dataset.schema import Motion

PLAN = Path(__file__).parents[3] / "solutions" / "plan.csv"


def row(
    source: str = "a", clip: str = "a/x.bvh", start: float = 0.0, end: float = 5.0, tag: str = "walk"
) -> PlannedStretch:
    return PlannedStretch(source=source, clip=clip, start_s=start, end_s=end, tag=tag)


def test_the_committed_list_meets_the_bounds_it_was_made_for() -> None:
    """At least 30 min; at least 3 min from each of at least 5 sources; at least 40 % not plain walking; <= 20 s
    each."""
    rows = read_plan(PLAN)
    minutes: dict[str, float] = {}
    for item in rows:
        minutes[item.source] = minutes.get(item.source, 0.0) + item.duration / 60.0
        assert 1.9 < item.duration < 20.1
        assert item.clip.startswith(item.source + "/")
    total = sum(minutes.values())
    assert total >= 30.0
    assert sum(value >= 3.0 for value in minutes.values()) >= 5
    assert sum(item.duration for item in rows if item.tag != PLAIN_WALK) / 60.0 >= 0.4 * total
    assert len({(item.clip, item.start_s) for item in rows}) == len(rows)


def test_a_list_survives_writing_and_reading(tmp_path: Path) -> None:
    rows = [row(), row(clip="a/y, z.bvh", start=1.5, end=3.25, tag="turn")]
    write_plan(rows, tmp_path / "deep" / "plan.csv")
    assert read_plan(tmp_path / "deep" / "plan.csv") == rows
    assert "2 stretches" in summary(rows)


def test_what_two_files_show_of_one_recording_counts_once() -> None:
    """The same take as AMC and BVH, overlapping stretches of one file, and a clip that the wheel has too."""
    rows = [
        row(clip="cmu_amc/02/02_01.amc", start=0.0, end=60.0), row(clip="cmu_bvh/takes/02_01.bvh", start=30.0, end=90.0),
        row(clip="cmu_bvh/takes/02_01.bvh", start=120.0, end=150.0), row(clip="cmu_bvh/takes/02_02.bvh", start=0.0, end=60.0),
        row(clip="deepmimic/humanoid3d_punch.txt", start=0.0, end=30.0),
    ]  # fmt: skip
    assert unique_minutes(rows) == pytest.approx(3.5)
    assert summary(rows).startswith(
        "5 stretches of 3 recordings, 4.0 min, 3.5 min unique, 0.5 min of them in the embedded clips too\n"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,start\n", "expected columns"),
        ("source,clip,start_s,end_s,tag\na,b,zero,1,walk\n", "line 2: expected times"),
    ],
)
def test_a_broken_list_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "plan.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_plan(tmp_path / "plan.csv")


def test_an_existing_list_is_never_overwritten(tmp_path: Path) -> None:
    write_plan([row()], tmp_path / "plan.csv")
    with pytest.raises(ValueError, match="fixed"):
        main(Config(root=tmp_path, out=tmp_path / "plan.csv"))
    assert read_plan(tmp_path / "plan.csv") == [row()]


def test_cutting_keeps_both_end_frames_and_names_the_start(make_motion: Callable[..., Motion]) -> None:
    motion = make_motion(91)
    motion.root_pos[:, 0] = np.arange(91)
    piece = cut(motion, 1.0, 2.0)
    np.testing.assert_array_equal(piece.root_pos[[0, -1], 0], [30.0, 60.0])
    assert (piece.num_frames, piece.name) == (31, "made@1.00")
    with pytest.raises(ValueError, match=r"inside 3\.00 s"):
        cut(motion, 3.0, 9.0)


def test_a_planned_stretch_is_the_cut_of_the_whole_retargeted_clip(
    write_bvh: Callable[..., Path], body: BodyModel
) -> None:
    path = write_bvh(frames=91)
    motion = planned_motion(row("here", path.name, 0.5, 2.5), path.parent, body)
    assert (motion.num_frames, motion.frame_rate, motion.source, motion.name) == (61, 30.0, "here", "made@0.50")
    assert motion.subject == body.subject


def test_the_choice_is_balanced_easiest_first_and_leaves_out_pushes() -> None:
    found = []
    for index in range(30):
        for tag in (PLAIN_WALK, "turn", "jump", "pushed"):
            stretch = row("snu_ys2010", f"snu_ys2010/{tag}{index}.bvh", 0.0, 10.0, tag)
            found.append(Candidate(stretch=stretch, difficulty=float(index)))
    rows = choose(found, Config(root=Path("."), minutes={"snu_ys2010": 4.0}))
    assert sum(item.duration for item in rows) == pytest.approx(240.0)
    share = sum(item.duration for item in rows if item.tag == PLAIN_WALK) / 240.0
    assert 0.4 <= share <= 0.55
    assert {item.tag for item in rows} == {PLAIN_WALK, "turn", "jump"}
    numbers = [int("".join(filter(str.isdigit, item.clip.split("/")[1]))) for item in rows]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("path", "forward", "left", "tag"),
    [
        ("s/anything.bvh", 1.2, 0.0, "walk"),
        ("s/anything.bvh", 3.0, 0.0, "run"),
        ("s/anything.bvh", -0.8, 0.0, "backward"),
        ("s/anything.bvh", 0.0, 0.8, "sidestep"),
        ("s/anything.bvh", 0.05, 0.0, "stand"),
        ("s/wd2_PushStep00.bvh", 1.2, 0.0, "pushed"),
        ("cmu_bvh/takes/05/05_02.bvh", 1.2, 0.0, "dance"),
    ],
)
def test_tags_follow_names_then_the_pelvis(
    make_motion: Callable[..., Motion], path: str, forward: float, left: float, tag: str
) -> None:
    motion = make_motion(91)
    motion.root_pos[:, 0], motion.root_pos[:, 1] = forward * np.arange(91) / 30, left * np.arange(91) / 30
    assert motion_tag(path, motion) == tag


def test_candidates_skip_a_person_standing_still(make_motion: Callable[..., Motion], body: BodyModel) -> None:
    from dataset.motion.plan import candidates
    from dataset.motion.retarget import retarget

    motion = make_motion(301)
    motion.root_pos[200:, 0] = np.arange(101) / 30.0
    report = screen_motion(motion, body)
    found = candidates("s/x.bvh", retarget(motion, body), report, body, Config(root=Path("."), max_stretch=4.0))
    starts = [item.stretch.start_s for item in found]
    assert report.is_usable
    assert min(starts) > 2.0, "the first seconds, in which nothing moves, are left out"
