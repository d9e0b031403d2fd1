"""Windows of a data set: right frames, right targets, one definition of heading, reproducible batches."""

import dataclasses

import numpy as np
import pytest

from dataset import rotation
from dataset.body.default import make_body
from dataset.body.marker_sets import marker_points, marker_set
from dataset.marker_tracks import MarkerPlacement, pelvis_heading, place_store_markers
from dataset.store import Store
from dataset.windows import WindowConfig, WindowSet


def _placement(subject) -> MarkerPlacement:
    body = make_body(dataclasses.replace(subject, shape=()))
    points, bodies, weights = marker_points(body, marker_set("cmu_41"))
    return MarkerPlacement(joint_pos=body.joint_pos, points=points, bodies=bodies, weights=weights)


@pytest.fixture(scope="module")
def placement_of():
    """Laboratory markers on the default body, one body a subject."""
    known = {}
    return lambda subject: known.setdefault(subject, _placement(subject))


@pytest.fixture
def store(tmp_path, three_sequences) -> Store:
    """Three sequences in two shards."""
    store = Store.create(tmp_path / "set")
    store.append(three_sequences[:1])
    store.append(three_sequences[1:])
    return store


CONFIG = WindowConfig(min_markers=5, max_markers=20, batch=16, seed=3)


def test_every_frame_with_a_whole_window_is_there_once(store, placement_of) -> None:
    """T - 5 windows of 6 frames a sequence: all frames but two at the start and three at the end."""
    windows = WindowSet(store, place_store_markers(store, placement_of), CONFIG)
    expected = [
        frame
        for start, end in zip(store.frame_offsets, store.frame_offsets[1:], strict=False)
        for frame in range(start + 2, end - 3)
    ]
    assert windows.frame.tolist() == expected
    seen = np.concatenate([batch.number for batch in windows.batches(epoch=0)])
    assert sorted(seen.tolist()) == list(range(len(windows)))
    assert seen.tolist() != sorted(seen.tolist())


def test_targets_are_those_of_the_frame_turned_to_its_heading(store, placement_of) -> None:
    """Impulse of the transition from t as stored, forces at t and t + 1 in the frame of the pelvis at t, own mass."""
    windows = WindowSet(store, place_store_markers(store, placement_of), CONFIG)
    batch = windows.batch(np.arange(len(windows)))
    for row in range(0, len(windows), 7):
        number = int(windows.sequence[row])
        item, t = store.read(number), int(windows.frame[row] - store.frame_offsets[number])
        np.testing.assert_array_equal(batch.impulse[row], item.impulse[t])
        forward = rotation.rotate(item.quat[t, 0], np.array([1.0, 0, 0]))
        turn = rotation.from_axis_angle((0, 0, 1), -np.arctan2(forward[1], forward[0]))
        np.testing.assert_allclose(batch.grf[row], rotation.rotate(turn, item.grf[t : t + 2]), atol=1e-3)
        assert batch.mass[row] == np.float32(item.subject.mass)


def test_features_are_the_subjects_markers_seen_from_its_pelvis(store, placement_of) -> None:
    """Placing the markers by hand and turning them gives the positions of the window."""
    windows = WindowSet(store, place_store_markers(store, placement_of), CONFIG)
    batch = windows.batch(np.array([len(windows) - 1]))
    number = int(windows.sequence[-1])
    item, t = store.read(number), int(windows.frame[-1] - store.frame_offsets[number])
    tracks = placement_of(item.subject).place(item.root_pos, item.quat)[t - 2 : t + 4]
    forward = rotation.rotate(item.quat[t, 0], np.array([1.0, 0, 0]))
    turn = rotation.from_axis_angle((0, 0, 1), -np.arctan2(forward[1], forward[0]))
    seen = rotation.rotate(turn, tracks - item.root_pos[t] * [1, 1, 0])
    columns = batch.marker[0][batch.mask[0]]
    np.testing.assert_allclose(batch.features[0, : len(columns), :, :3], seen[:, columns].swapaxes(0, 1), atol=2e-6)


def test_a_window_is_the_same_whatever_its_batch_and_differs_between_epochs(store, placement_of) -> None:
    """What a resumed or divided run needs."""
    windows = WindowSet(store, place_store_markers(store, placement_of), CONFIG)
    first = next(windows.batches(epoch=2))
    alone = windows.batch(first.number[3:4], epoch=2)
    np.testing.assert_array_equal(first.features[3:4], alone.features)
    assert not np.array_equal(windows.batch(first.number, epoch=3).marker, first.marker)
    assert not np.array_equal(windows.order(2), windows.order(3))


def test_windows_of_a_split_come_from_its_sequences_only(store, placement_of) -> None:
    """Sequence 1 alone, counted over shards; one-sided averages are left out at both times."""
    tracks = place_store_markers(store, placement_of)
    windows = WindowSet(store, tracks, CONFIG, sequences=np.array([1]))
    assert set(windows.sequence.tolist()) == {1}
    item = store.read(1)
    edge = item.is_edge.copy()
    edge[5] = True
    cut = Store.create(store.path.parent / "edge")
    cut.append([dataclasses.replace(item, is_edge=edge)])
    frames = WindowSet(cut, place_store_markers(cut, placement_of), CONFIG).frame
    assert not {4, 5} & set(frames.tolist()) and {3, 6} <= set(frames.tolist())


def test_cached_tracks_are_mapped_and_renewed_with_data_or_markers(store, placement_of, tmp_path) -> None:
    """The file is named by what it was made from."""
    cache = tmp_path / "cache"
    first = place_store_markers(store, placement_of, cache=cache)
    again = place_store_markers(store, placement_of, cache=cache)
    assert isinstance(again.marker_pos, np.memmap) and len(list(cache.iterdir())) == 1
    np.testing.assert_array_equal(first.marker_pos, place_store_markers(store, placement_of).marker_pos)

    def raised(subject):
        placement = placement_of(subject)
        return dataclasses.replace(placement, points=placement.points + 0.01)

    place_store_markers(store, raised, cache=cache)
    assert len(list(cache.iterdir())) == 2


def test_heading_is_defined_for_a_pelvis_that_looks_straight_up_or_down() -> None:
    """Upright: the forward axis. On the back or the belly: where it points after getting up the shortest way."""
    identity = rotation.IDENTITY
    left = rotation.from_axis_angle((0, 0, 1), np.pi / 2)
    on_the_back = rotation.multiply(left, rotation.from_axis_angle((0, 1, 0), -np.pi / 2))
    on_the_belly = rotation.multiply(left, rotation.from_axis_angle((0, 1, 0), np.pi / 2))
    found = pelvis_heading(np.stack([identity, left, on_the_back, on_the_belly]))
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0, 1], [0, 1]], atol=1e-7)


def test_what_cannot_be_cut_is_refused(store, placement_of) -> None:
    """Too many markers, too short sequences, numbers outside, sets of different size."""
    tracks = place_store_markers(store, placement_of)
    with pytest.raises(ValueError, match="max_markers: expected at most the 41 markers of the set, got 96"):
        WindowSet(store, tracks, WindowConfig())
    with pytest.raises(ValueError, match="sequences: expected one of at least 62 frames, got 3 shorter ones"):
        WindowSet(store, tracks, dataclasses.replace(CONFIG, half_width=30))
    windows = WindowSet(store, tracks, CONFIG)
    with pytest.raises(ValueError, match=f"number: expected 0 to {len(windows) - 1}"):
        windows.batch(np.array([len(windows)]))

    def uneven(subject):
        placement = placement_of(subject)
        keep = 41 if subject.height < 1.8 else 40
        return dataclasses.replace(
            placement, points=placement.points[:keep], bodies=placement.bodies[:keep], weights=placement.weights[:keep]
        )

    with pytest.raises(ValueError, match=r"one number of markers for all subjects, got \[40, 41\]"):
        place_store_markers(store, uneven)
