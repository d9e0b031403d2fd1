"""The split command: three data sets that together are the one, by the fixed rule of `dataset.splits`."""

import pytest

from dataset.manifest import Dropped
from dataset.split import SplitCommand, main
from dataset.splits import PARTS, SplitConfig, part_of, split_sequences
from dataset.store import Store

SHARES = SplitConfig(validation=0.3, test=0.3)


@pytest.fixture
def store(tmp_path, build_dynamics):
    """Twenty clips of three sequences each, and what was lost of every other clip."""
    store = Store.create(tmp_path / "set")
    items = [build_dynamics(f"made-up-{i}", frames=3, clip=f"made-up/{i // 3}", seed=i) for i in range(60)]
    lost = [Dropped(clip=f"made-up/{i}", subject="x", seed=0, reason="fell", seconds=1.0) for i in range(0, 40, 2)]
    store.append(items[:30], lost[:10])
    store.append(items[30:], lost[10:])
    return store


def test_the_parts_are_the_whole_and_follow_the_rule(tmp_path, store) -> None:
    """Names and losses are divided as `split_sequences` says; nothing is lost or doubled."""
    parts = main(SplitCommand(folder=tmp_path / "set", out=tmp_path / "out", split=SHARES))
    rule = split_sequences(store.sequences, SHARES)
    for part in PARTS:
        assert sorted(i.name for i in parts[part].sequences) == sorted(store.sequences[n].name for n in rule[part])
        assert {part_of(loss.clip, SHARES) for loss in parts[part].dropped} <= {part}
        assert len(parts[part]) > 0
    assert sorted((loss for part in parts.values() for loss in part.dropped), key=str) == sorted(store.dropped, key=str)


def test_splitting_again_changes_nothing(tmp_path, store) -> None:
    """Started twice, or stopped in between, gives the same shards."""
    command = SplitCommand(folder=tmp_path / "set", out=tmp_path / "out", split=SHARES)
    first = {part: found.content for part, found in main(command).items()}
    assert {part: found.content for part, found in main(command).items()} == first


def test_a_held_out_clip_takes_its_losses_along(tmp_path, store) -> None:
    """Into the test part, whatever its hash says."""
    name = next(
        info.clip for info in store.sequences if part_of(info.clip, SHARES) == "train" and int(info.clip[8:]) % 2 == 0
    )
    parts = main(SplitCommand(folder=tmp_path / "set", out=tmp_path / "out", split=SHARES, held_out=(name,)))
    assert name in {info.clip for info in parts["test"].sequences}
    assert name in {loss.clip for loss in parts["test"].dropped} - {loss.clip for loss in parts["train"].dropped}


def test_a_damaged_data_set_is_not_split(tmp_path, store) -> None:
    """Hashes are checked first: otherwise damage would get a hash of its own."""
    path = store.shards[0].path / "impulse.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"impulse.npy: expected sha256"):
        main(SplitCommand(folder=tmp_path / "set", out=tmp_path / "out", split=SHARES))
    assert not (tmp_path / "out").exists()
