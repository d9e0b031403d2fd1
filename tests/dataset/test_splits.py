"""Splits: fixed, disjoint, complete, independent of what else is there."""

import numpy as np
import pytest

from dataset.splits import SplitConfig, part_of, recording_of, split_sequences, unique_seconds
from dataset.store import Store


def test_parts_are_disjoint_and_keep_a_recording_together(tmp_path, build_dynamics) -> None:
    """Whatever the seed or stretch, a clip is in one part; the parts make up everything."""
    store = Store.create(tmp_path)
    store.append([build_dynamics(f"made-up-{i}", frames=3, seed=i, clip=f"made-up/{i // 3}") for i in range(60)])
    parts = split_sequences(store.sequences, SplitConfig(validation=0.3, test=0.3))
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(60))
    clips = [{store.sequences[i].clip for i in rows} for rows in parts.values()]
    assert not (clips[0] & clips[1] or clips[0] & clips[2] or clips[1] & clips[2])
    assert all(clips)


def test_shares_are_met_over_many_clips() -> None:
    """4000 names: within four standard deviations of 80, 10, 10 %."""
    parts = [part_of(f"clip-{i}") for i in range(4000)]
    for part, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        assert abs(parts.count(part) - 4000 * share) < 4 * np.sqrt(4000 * share * (1 - share))


def test_a_part_never_changes() -> None:
    """These values are what committed results were made with; a new salt gives a new split."""
    assert [part_of(f"cmu/walk_{i:02d}") for i in range(8)] == [
        "train",
        "test",
        "train",
        "train",
        "train",
        "validation",
        "train",
        "test",
    ]
    assert [part_of(f"clip-{i}", SplitConfig(salt="other")) for i in range(200)] != [
        part_of(f"clip-{i}") for i in range(200)
    ]


def test_held_out_names_are_tested_whatever_their_hash(tmp_path, three_sequences) -> None:
    """By recording or by subject; an unknown name is an error."""
    store = Store.create(tmp_path)
    store.append(three_sequences)
    config = SplitConfig(by="subject", validation=0.0, test=0.0)
    parts = split_sequences(store.sequences, config, held_out=["made-up-tall"])
    assert parts["test"].tolist() == [2] and parts["train"].tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"held_out: expected subject names .* unknown \['nobody'\]"):
        split_sequences(store.sequences, config, held_out=["nobody"])


def test_shares_that_leave_nothing_to_train_are_refused() -> None:
    """Negative and complete shares."""
    for shares in ({"validation": 0.5, "test": 0.5}, {"validation": -0.1}):
        with pytest.raises(ValueError, match="expected shares >= 0 that leave some to train"):
            SplitConfig(**shares)


ALIASES = {
    "cmu/02_01": (
        "cmu_amc/cmu_amc/02/02_01@0.00", "cmu_bvh/cmu_bvh/takes_02_05_06/02_01@1.50", "cmu_bvh/takes_02_05_06/02_01.bvh",
        "cmu_amc/02/02_01.amc", "02/02_01", "CMU/02/02_01_poses.npz",
    ),
    "cmu/69_07": ("snu_interactive/snu_interactive/cmu69_turn/69_07_1@14.50", "snu_interactive/cmu69_turn/69_07_2.bvh"),
    "humanoid3d/punch": (
        "embedded/punch", "deepmimic/deepmimic/humanoid3d_punch@0.00", "deepmimic/humanoid3d_punch.txt", "x/humanoid3d_punch",
    ),
    "snu_timecritical/s_005_1_1": ("snu_timecritical/snu_timecritical/s_005_1_1@0.00", "snu_timecritical/s_005_1_1.bvh"),
    "cmu_bvh/acrnn/salsa/01": ("cmu_bvh/cmu_bvh/acrnn/salsa/01@0.17", "cmu_bvh/acrnn/salsa/01.bvh"),
}  # fmt: skip
"""Names under which one recording comes into data sets, lists and folders."""


def test_a_recording_has_one_name() -> None:
    """Whatever its format, package and stretch; a name of its own is left alone."""
    for recording, names in ALIASES.items():
        assert {recording_of(name) for name in (*names, recording)} == {recording}
    own = ["toy/02_01", "embedded/walk", "embedded/run", "cmu_amc/02/02_10", "cmu_amc/02/02_01", "x/1_2_3_4", "me@home/walk",
           "me@home/run"]  # fmt: skip
    assert len({recording_of(name) for name in own}) == len(own)


def test_all_names_of_a_recording_are_in_one_part(tmp_path, build_dynamics) -> None:
    """Also where one of them is held out; hashed by itself each would go its own way."""
    store = Store.create(tmp_path)
    clips = [name for names in ALIASES.values() for name in names]
    store.append([build_dynamics(f"made-up-{i}", frames=3, seed=i, clip=clip) for i, clip in enumerate(clips)])
    config = SplitConfig(validation=0.3, test=0.3)
    assert any(len({part_of(name, config) for name in names}) > 1 for names in ALIASES.values())
    for held_out in ((), ("embedded/punch",), ("deepmimic/humanoid3d_punch",)):
        parts = split_sequences(store.sequences, config, held_out=held_out)
        where = {store.sequences[i].clip: part for part, rows in parts.items() for i in rows}
        assert all(len({where[name] for name in names}) == 1 for names in ALIASES.values())
        assert not held_out or where["x/humanoid3d_punch"] == "test"


def test_a_moment_of_a_recording_counts_once() -> None:
    """A take as AMC from its start and as stretches of the BVH, one of which begins at 30 s of the file."""
    stretches = [
        ("cmu_amc/02/02_01", 0.0, 60.0), ("cmu_bvh/takes/02_01@30.00", 0.5, 45.0), ("cmu_bvh/takes/02_01@100.00", 0.0, 2.0),
        ("cmu_bvh/takes/02_02", 10.0, 15.0),
    ]  # fmt: skip
    assert unique_seconds(stretches) == pytest.approx(75.0 + 2.0 + 5.0)
    assert unique_seconds([]) == 0.0
