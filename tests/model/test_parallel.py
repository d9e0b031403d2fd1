"""Several workers are one worker: shares make up the batch, terms and gradients add up, whole trainings agree."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.store import Store
from model import train
from model.batches import BatchMaker
from model.config import smoke
from model.frames import build_frames
from model.imdys import ImDyS, ImDySConfig
from model.losses import TERMS, LossWeights, loss_terms, term_counts, total_loss
from model.markers import place_pool, training_pool
from model.metrics_log import read_rows
from model.parallel import Workers

ROUNDING = 1e-5
"""Relative: the same sums of a few thousand float32 in another order."""


@pytest.fixture(scope="module")
def maker(sway_sequences):
    frames = build_frames(sway_sequences[:4], place_pool, smoothing=6.0)
    return BatchMaker(frames, training_pool().dense, tuple(training_pool().labs.values()), seed=3)


def _batches(maker, windows, share):
    return maker.make(maker._frames.usable[:windows], np.random.default_rng(5), share)


@pytest.mark.parametrize("windows", [1, 2, 37])
@pytest.mark.parametrize("count", [2, 3])
def test_the_shares_of_all_workers_are_the_batch_of_one(maker, windows, count):
    """Bit for bit, windows dealt out in turn, targets with them; also where there are fewer windows than workers."""
    whole = _batches(maker, windows, (0, 1))
    rows = [row for tokens, mask in whole.groups for row in zip(tokens, mask)]
    for rank in range(count):
        part = _batches(maker, windows, (rank, count))
        mine = [row for tokens, mask in part.groups for row in zip(tokens, mask)]
        assert len(mine) == len(rows[rank::count]) == len(part.target.mass)
        for (tokens, mask), (expected, present) in zip(mine, rows[rank::count]):
            assert torch.equal(tokens, expected) and torch.equal(mask, present)
        for name in ("impulse", "grf", "foot_cop", "mass"):
            torch.testing.assert_close(
                getattr(part.target, name), getattr(whole.target, name)[rank::count], rtol=1e-6, atol=1e-6
            )


def test_terms_and_gradients_of_shares_add_up_to_those_of_the_batch(maker):
    """Each worker's means count with its part of the entries, masks included: unlike a plain mean over the workers."""
    torch.manual_seed(0)
    whole = _batches(maker, 37, (0, 1))
    model = ImDyS(ImDySConfig(width=32, layers=2, ff=64), train.measured_scaling(smoke(Path(), Path()), maker))

    def terms_of(batch, parts):
        found = loss_terms(model(batch.groups), batch.target, model.scaling)
        own = {name: part * found[name] for name, part in zip(TERMS, parts)}
        total_loss(own, LossWeights()).backward()
        return torch.stack([own[name].detach() for name in TERMS])

    def gradients():
        flat = torch.cat([value.grad.flatten() for value in model.parameters()])
        model.zero_grad()
        return flat

    expected = terms_of(whole, torch.ones(len(TERMS)))
    expected_gradient = gradients()
    shares = [_batches(maker, 37, (rank, 3)) for rank in range(3)]
    counts = [term_counts(share.target) for share in shares]
    torch.testing.assert_close(sum(counts), term_counts(whole.target), rtol=0, atol=0)
    weighted = sum(terms_of(share, own / sum(counts)) for share, own in zip(shares, counts))
    torch.testing.assert_close(weighted, expected, rtol=ROUNDING, atol=0)
    difference = gradients() - expected_gradient
    assert difference.norm() < ROUNDING * expected_gradient.norm()
    plain = sum(terms_of(share, torch.full((len(TERMS),), 1 / 3)) for share in shares)
    assert ((plain - expected).abs() > 100 * ROUNDING * expected).any(), "the masks make no difference here"


def test_two_processes_train_the_solver_that_one_trains(sway_sequences, second_worker, tmp_path):
    """The same losses at every step of a pass whose last batch leaves the second worker without a window."""
    Store.create(tmp_path / "data").append(sway_sequences[:6])
    train.main(second_worker.short(tmp_path / "data", tmp_path / "one"))
    second_worker.train_with_two("short", tmp_path / "data", tmp_path / "two")
    one, two = read_rows(tmp_path / "one"), read_rows(tmp_path / "two")
    assert [row["step"] for row in two] == [row["step"] for row in one] == list(range(1, 15))
    assert two[0]["train"] == pytest.approx(one[0]["train"], rel=ROUNDING, abs=2e-6)  # rows have six decimals
    losses = [[row["train"]["loss"] for row in rows] for rows in (one, two)]
    # Rounding grows from step to step: AdamW divides small gradients by their own size.
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][0] > 1.05 * losses[0][-2], "nothing was learned, so nothing was compared"


def test_places_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="rank: expected one of 0 to 1 for 2 workers, got 2"):
        Workers(rank=2, count=2)
    with pytest.raises(ValueError, match="count: expected an open process group of 2 workers, found none"):
        Workers(rank=0, count=2)


def test_devices_and_numbers_of_workers_that_cannot_be_are_refused(tmp_path):
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device: expected a CUDA device for 'cuda', found none"):
            train.check_device("cuda")
    for workers in (0, 65):
        with pytest.raises(ValueError, match=f"workers: expected 1 to 64, .* got {workers}"):
            train.check_share(smoke(tmp_path, tmp_path), workers)
