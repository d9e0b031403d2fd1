"""Frames and batches: labels and windows line up, mirror images are exact, draws depend on seed and step alone."""

import dataclasses

import numpy as np
import pytest
import torch

from dataset import rotation
from dataset.schema import LabTrial
from dataset.skeleton import BODY_INDEX, FEET, GRAVITY, MIRROR_AXIAL, MIRROR_BODY, MIRROR_VECTOR
from dataset.windows import HALF_WIDTH
from kernels.windows import make_tokens
from model.batches import NO_AUGMENTATION, Augmentation, BatchMaker, make_targets
from model.frames import build_frames
from model.markers import place_pool, training_pool
from model.trial_markers import CUTOFF, prepare_markers


@pytest.fixture(scope="module")
def frames(sway_sequences):
    return build_frames(sway_sequences[:4], place_pool, smoothing=6.0)


def _clean(frames, centre, mirrored=False, index=None):
    """Tokens and targets of windows in their exact frames."""
    origin = np.concatenate([frames.pelvis[centre, :2], np.zeros((len(centre), 1))], axis=1).astype(np.float32)
    flags = np.full(len(centre), mirrored)
    index = training_pool().dense.astype(np.int32) if index is None else index
    tokens, _ = make_tokens(
        frames.markers, centre, np.tile(index, (len(centre), 1)), origin=origin, heading=frames.heading[centre],
        is_mirrored=flags,
    )  # fmt: skip
    return tokens, make_targets(frames, centre, origin, frames.heading[centre], flags)


def test_windows_and_labels_stay_inside_one_sequence_and_off_its_ends(frames):
    """Every usable frame has two frames before and three after it, whole labels, and no one-sided average."""
    number = frames.sequence_of(frames.usable)
    assert (frames.sequence_of(frames.usable - HALF_WIDTH) == number).all()
    assert (frames.sequence_of(frames.usable + HALF_WIDTH + 1) == number).all()
    assert np.isfinite(frames.impulse[frames.usable]).all()
    assert len(frames.usable) == 4 * (120 - 5)


def test_targets_are_the_recorded_values_per_kilogram_in_the_heading_frame(frames, sway_sequences):
    """Checked on one window against the record itself."""
    record, t = sway_sequences[2], 41
    centre = frames.offsets[2:3] + t
    _, target = _clean(frames, centre)
    heading = np.array([0.0, 0.0, -frames.heading[centre[0]]])
    turn = rotation.from_rotation_vector(heading)
    expected = rotation.rotate(turn, record.grf[t : t + 2]) / record.subject.mass
    assert np.abs(target.grf[0].numpy() - expected).max() < 1e-5
    assert np.abs(target.impulse[0].numpy() - record.impulse[t] / record.subject.mass).max() < 1e-7
    lever = np.concatenate([record.cop[t, BODY_INDEX["L_Ankle"]] - record.root_pos[t, :2], [0.0]])
    assert np.abs(target.foot_cop[0, 0, 0].numpy() - rotation.rotate(turn, lever)[:2]).max() < 1e-5
    assert float(target.mass[0]) == pytest.approx(record.subject.mass)
    assert float(target.grf[0, :, :, 2].sum(-1).mean()) == pytest.approx(GRAVITY, rel=0.5)


def test_the_heading_frame_hides_where_and_which_way_the_subject_stands(frames, sway_sequences):
    """Turning and moving a whole recording about the vertical leaves tokens and targets as they are."""
    record = sway_sequences[1]
    turn = rotation.from_rotation_vector(np.array([0.0, 0.0, 1.9]))
    quat = record.quat.copy()
    quat[:, 0] = rotation.multiply(turn, record.quat[:, 0])
    shift = np.array([4.0, -7.0, 0.0])
    cop = rotation.rotate(turn, np.concatenate([record.cop, np.zeros((*record.cop.shape[:2], 1))], axis=-1)) + shift
    turned = dataclasses.replace(
        record, quat=quat, root_pos=(rotation.rotate(turn, record.root_pos) + shift).astype(np.float32),
        grf=rotation.rotate(turn, record.grf).astype(np.float32), cop=cop[..., :2].astype(np.float32),
    )  # fmt: skip
    other = build_frames([turned], place_pool)
    tokens, target = _clean(frames, frames.offsets[1] + np.arange(10, 60))
    moved_tokens, moved_target = _clean(other, np.arange(10, 60))
    assert np.abs(tokens - moved_tokens).max() < 3e-4  # m/s: float32 positions metres from the origin, times 30 Hz
    assert (target.grf - moved_target.grf).abs().max() < 1e-4
    assert (target.foot_cop - moved_target.foot_cop).abs().max() < 1e-5
    assert (target.impulse == moved_target.impulse).all()


def test_a_mirrored_window_is_the_window_of_the_mirrored_recording(frames, sway_sequences):
    """The mirror image is built a second way: poses, forces and torques of the reflected person."""
    record, bodies = sway_sequences[0], list(MIRROR_BODY)
    joints = np.array(bodies[1:]) - 1
    # The image of a rotation vector (axial) in the plane y = 0, for the pelvis in the world and joints in bodies.
    flipped = rotation.from_rotation_vector(rotation.to_rotation_vector(record.quat) * MIRROR_AXIAL)[:, bodies]
    image = dataclasses.replace(
        record, quat=flipped.astype(np.float32), root_pos=(record.root_pos * MIRROR_VECTOR).astype(np.float32),
        grf=(record.grf * MIRROR_VECTOR).astype(np.float32)[:, bodies],
        cop=(record.cop * MIRROR_VECTOR[:2]).astype(np.float32)[:, bodies],
        impulse=(record.impulse * MIRROR_AXIAL).astype(np.float32)[:, joints],
    )  # fmt: skip
    mirrored_frames = build_frames([image], place_pool)
    centre = np.arange(5, 80)
    tokens, target = _clean(frames, centre, mirrored=True)
    # The dense set lists mirror pairs side by side, so the image of marker 2k is marker 2k + 1.
    swap = training_pool().dense.reshape(-1, 2)[:, ::-1].ravel().astype(np.int32)
    expected_tokens, expected = _clean(mirrored_frames, centre, index=swap)
    assert np.abs(tokens - expected_tokens).max() < 3e-4
    for name in ("impulse", "grf", "foot_cop"):
        assert (getattr(target, name) - getattr(expected, name)).abs().max() < 1e-4, name
    plain = _clean(frames, centre)[1]
    assert (plain.grf - target.grf).abs().max() > 1.0


def test_batches_are_a_function_of_seed_epoch_and_step(frames):
    """A resumed run repeats what the interrupted one would have drawn; another seed draws differently."""

    def run(seed, epoch):
        labs = tuple(training_pool().labs.values())
        maker = BatchMaker(frames, training_pool().dense, labs, augmentation=Augmentation(), seed=seed)
        return list(maker.epoch(epoch, 128))

    first, again, other_epoch, other_seed = run(0, 3), run(0, 3), run(0, 4), run(1, 3)
    for a, b in zip(first, again, strict=True):
        for (tokens, mask), (again_tokens, again_mask) in zip(a.groups, b.groups, strict=True):
            assert torch.equal(tokens, again_tokens) and torch.equal(mask, again_mask)
        assert torch.equal(a.target.grf, b.target.grf)
    for other in (other_epoch, other_seed):
        assert not torch.equal(first[0].target.grf, other[0].target.grf)
    assert sum(len(batch.target.mass) for batch in first) == len(frames.usable)


def test_marker_counts_follow_the_released_range_and_no_window_is_padded(frames):
    """Random subsets of 22 to 96 different markers; laboratory sets lose at most their share."""
    plain = BatchMaker(frames, training_pool().dense, augmentation=NO_AUGMENTATION)
    sizes = [tokens.shape[1] for epoch in range(6) for batch in plain.epoch(epoch, 64) for tokens, _ in batch.groups]
    assert min(sizes) >= 22 and max(sizes) <= 96 and max(sizes) - min(sizes) > 50
    assert all(mask.all() for batch in plain.epoch(0, 64) for _, mask in batch.groups)
    labs = tuple(training_pool().labs.values())
    maker = BatchMaker(
        frames, training_pool().dense, labs, augmentation=dataclasses.replace(NO_AUGMENTATION, lab_share=1.0)
    )
    sizes = {tokens.shape[1] for batch in maker.epoch(0, 32) for tokens, _ in batch.groups}
    assert sizes == {39, 41, 31}


def test_feet_of_a_target_carry_the_load_of_their_two_bodies(frames):
    """Left foot = L_Ankle + L_Toe; together the feet of the toy carry everything."""
    _, target = _clean(frames, frames.usable[:50])
    assert (target.foot_load.sum(-1) - target.grf[..., 2].sum(-1)).abs().max() < 1e-4
    left = target.grf[:, :, list(FEET[0]), 2].sum(-1)
    assert torch.equal(target.foot_load[..., 0], left)


def test_low_passed_copies_are_filtered_as_the_markers_of_a_trial_are(sway_sequences):
    """The same tracks as a 30 Hz trial come out of `prepare_markers` as they went into training."""
    frames = build_frames(sway_sequences[:1], place_pool, smoothing=CUTOFF)
    raw, copies = np.split(frames.markers.astype(np.float64), 2)
    labels = tuple(f"M{m}" for m in range(4))
    trial = LabTrial(
        name="t", path="t", marker_names=labels, marker_rate=30.0, time=np.arange(len(raw)) / 30.0, markers=raw[:, :4]
    )
    prepared = prepare_markers(trial)
    assert prepared.names == labels and prepared.floor == 0.0 and not prepared.belt_velocity.any()
    assert np.abs(raw[:, :4] - prepared.markers_TM3).max() > 1e-5
    np.testing.assert_allclose(copies[:, :4], prepared.markers_TM3, atol=1e-6)
    assert Augmentation().smoothing == CUTOFF


def test_what_cannot_be_batched_is_refused_with_the_reason(frames, sway_sequences):
    """Too few markers, missing low-passed copies, sequences shorter than a window."""
    with pytest.raises(ValueError, match="dense: expected at least 22 markers, got 21"):
        BatchMaker(frames, training_pool().dense[:21])
    plain = build_frames(sway_sequences[:1], place_pool)
    with pytest.raises(ValueError, match="smoothed_share needs low-passed copies"):
        BatchMaker(plain, training_pool().dense)
    with pytest.raises(ValueError, match="sequences: expected one of at least 8 frames, got 0"):
        build_frames([], place_pool)
