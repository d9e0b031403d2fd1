"""What a collection has to do, from what a user names."""

import dataclasses

import pytest
from toy_dynamics import sway_dynamics

from dataset.body.subjects import SUBJECTS
from dataset.motion.embedded import CLIP_NAMES
from dataset.store import Store
from sim.imitate_clip import ImitationConfig, imitate_item
from sim.resume import unfinished
from sim.work_items import list_clips, list_items

PLAN = "source,clip,start_s,end_s,tag\nbvh,bvh/walk/01.bvh,0.000,5.000,walk\nbvh,bvh/walk/01.bvh,5.000,9.500,walk\n"


def test_embedded_stands_for_all_fifteen_or_one():
    assert [clip.label for clip in list_clips(["embedded"])] == [f"embedded/{name}" for name in CLIP_NAMES]
    assert [clip.label for clip in list_clips(["embedded/walk"])] == ["embedded/walk"]
    with pytest.raises(ValueError, match=r"walk.*got 'walkk'"):
        list_clips(["embedded/walkk"])


def test_a_folder_stands_for_its_motion_files_with_the_first_level_as_source(tmp_path):
    for name in ("a/b/two.bvh", "a/one.amc", "c.txt", "LICENCE.txt", "a/skeleton.asf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [clip.label for clip in list_clips([str(tmp_path)])] == ["a/b/two", "a/one", f"{tmp_path.name}/c"]


def test_a_list_gives_its_stretches_by_name_and_start(tmp_path):
    plan = tmp_path / "plan.csv"
    plan.write_text(PLAN)
    clips = list_clips([str(plan)], root=tmp_path)
    assert [clip.label for clip in clips] == ["bvh/bvh/walk/01@0.00", "bvh/bvh/walk/01@5.00"]
    assert clips[1].path == tmp_path / "bvh/walk/01.bvh"
    assert clips[1].planned is not None and clips[1].planned.end_s == 9.5
    with pytest.raises(ValueError, match="root"):
        list_clips([str(plan)])


def test_what_does_not_exist_or_comes_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        list_clips([str(tmp_path / "nothing")])
    with pytest.raises(ValueError, match="found none"):
        list_clips([str(tmp_path)])
    with pytest.raises(ValueError, match="more than once"):
        list_clips(["embedded", "embedded/run"])


def test_every_pairing_is_the_product_and_turn_takes_subjects_by_place():
    clips = list_clips(["embedded"])
    product = list_items(clips[:3], SUBJECTS[:2], (0, 1))
    assert len(product) == 12 and len({item.name for item in product}) == 12
    turn = list_items(clips, SUBJECTS[:4], (0,), "turn")
    assert [item.subject.name for item in turn[:5]] == [SUBJECTS[place % 4].name for place in range(5)]
    assert turn[0].name == f"embedded/{CLIP_NAMES[0]}/{SUBJECTS[0].name}/0"


def test_what_another_controller_recorded_is_other_work(tmp_path):
    """The same clip, subject and seed: the tracker's records settle its own item only, under the names they always had."""
    [item] = list_items(list_clips(["embedded/walk"]), SUBJECTS[:1], (0,))
    policy = dataclasses.replace(item, controller="policy")
    assert item.key == ("embedded/walk", SUBJECTS[0].name, "tracker", 0) != policy.key
    assert (item.name, policy.name) == (
        f"embedded/walk/{SUBJECTS[0].name}/0",
        f"embedded/walk/{SUBJECTS[0].name}/policy/0",
    )
    record = dataclasses.replace(sway_dynamics(0), clip="embedded/walk", subject=SUBJECTS[0], seed=0)
    for controller, left in (("tracker", [1]), ("policy", [0])):
        store = Store.create(tmp_path / controller)
        store.append([dataclasses.replace(record, controller=controller)])
        assert list(unfinished([item, policy], store, keep_failed=False)) == left
    with pytest.raises(ValueError, match="expected the controller 'tracker', the only one here, got 'policy'"):
        imitate_item(policy, ImitationConfig())
