"""Loss terms and metrics against hand-worked numbers and invariants."""

import dataclasses

import pytest
import torch

from dataset.skeleton import BODY_INDEX, GRAVITY
from model.imdys import Prediction
from model.losses import MEAN_MASS, LossWeights, Targets, cosine_loss, loss_terms, pairwise_loss, total_loss
from model.metrics import ErrorSums, Estimate, foot_force
from model.scaling import Scaling
from model.window_baselines import mean_estimate, weight_over_true_contact

GENERATOR = torch.Generator().manual_seed(1)
SCALING = Scaling(
    feature_mean=torch.zeros(36), feature_map=torch.eye(36), impulse_mean=torch.full((23, 3), 0.01),
    impulse_std=torch.full((23, 3), 0.02), grf_mean=torch.full((24, 3), 0.1), grf_std=torch.full((24, 3), 0.5),
)  # fmt: skip


def make_targets(count=4, mass=70.0):
    """Random targets with both feet loaded."""
    grf = torch.zeros(count, 2, 24, 3)
    for name in ("L_Ankle", "L_Toe", "R_Ankle"):
        grf[:, :, BODY_INDEX[name]] = torch.randn(count, 2, 3, generator=GENERATOR) + torch.tensor([0.0, 0.0, 5.0])
    return Targets(
        impulse=0.02 * torch.randn(count, 23, 3, generator=GENERATOR), grf=grf,
        foot_cop=0.1 * torch.randn(count, 2, 2, 2, generator=GENERATOR), mass=torch.full((count,), mass),
    )  # fmt: skip


def perfect(target):
    """The prediction that repeats the targets, sure of every contact."""
    size = target.grf.norm(dim=-1)
    return Prediction(
        impulse_direction=torch.nn.functional.normalize(target.impulse, dim=-1),
        impulse_magnitude=target.impulse.norm(dim=-1), grf_direction=torch.nn.functional.normalize(target.grf, dim=-1),
        grf_magnitude=size, contact_logit=torch.where(size > 0, 50.0, -50.0), foot_cop=target.foot_cop,
    )  # fmt: skip


def test_every_loss_term_is_zero_for_the_perfect_prediction():
    """Nothing but rounding remains, so every term measures a distance from the targets."""
    target = make_targets()
    terms = loss_terms(perfect(target), target, SCALING)
    assert set(terms) == {item.name for item in dataclasses.fields(LossWeights)}
    assert all(float(term) < 1e-5 for term in terms.values()), terms


def test_l2_terms_act_on_standardised_targets():
    """An error of one standard deviation in every component costs 1."""
    target = make_targets()
    shifted = dataclasses.replace(
        target, impulse=target.impulse + SCALING.impulse_std, grf=target.grf + SCALING.grf_std
    )
    terms = loss_terms(perfect(target), shifted, SCALING)
    assert float(terms["impulse_l2"]) == pytest.approx(1.0, rel=1e-4)
    assert float(terms["grf_l2"]) == pytest.approx(1.0, rel=1e-4)


def test_cosine_runs_over_the_vector_axis_and_ignores_bodies_without_contact():
    """Opposite directions cost 2; the length of the target does not matter, nor do rows of weight zero."""
    direction = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    target = torch.tensor([[[-3.0, 0.0, 0.0], [0.0, 7.0, 0.0]]])
    size = target.norm(dim=-1)
    assert float(cosine_loss(direction, target, size, torch.tensor([[1.0, 0.0]]))) == pytest.approx(2.0)
    assert float(cosine_loss(direction, target, size, torch.tensor([[1.0, 1.0]]))) == pytest.approx(1.0)


def test_pairwise_term_equals_the_sum_over_all_pairs():
    """The sorted closed form against the double loop."""
    error = torch.randn(5, 2, 7, generator=GENERATOR, dtype=torch.float64)
    pairs = [(error[..., i] - error[..., j]).abs() for i in range(7) for j in range(i)]
    assert float(pairwise_loss(error)) == pytest.approx(float(torch.stack(pairs).mean()), rel=1e-12)
    assert float(pairwise_loss(error + 3.0)) == pytest.approx(float(pairwise_loss(error)), rel=1e-9)


def test_centre_of_pressure_is_learned_on_loaded_feet_only():
    """A foot in the air has no centre of pressure to be wrong about."""
    target = make_targets()
    prediction = dataclasses.replace(perfect(target), foot_cop=target.foot_cop + 0.05)
    assert float(loss_terms(prediction, target, SCALING)["foot_cop"]) == pytest.approx(0.05, rel=1e-4)
    flying = dataclasses.replace(target, grf=torch.zeros_like(target.grf))
    assert float(loss_terms(prediction, flying, SCALING)["foot_cop"]) == 0.0


def test_total_is_the_weighted_sum_and_a_zero_weight_leaves_a_term_out():
    """Even a NaN term vanishes under a zero weight: it is not computed into the sum."""
    terms = {item.name: torch.tensor(float("nan")) for item in dataclasses.fields(LossWeights)}
    terms |= {"contact": torch.tensor(2.0), "grf_l2": torch.tensor(3.0)}
    none = dict.fromkeys(terms, 0.0)
    assert float(total_loss(terms, LossWeights(**(none | {"contact": 0.5, "grf_l2": 2.0})))) == pytest.approx(7.0)


def test_errors_are_per_kilogram_with_the_constant_mass_beside():
    """3-4-5 errors by hand: 5 N/kg on one foot, its double at 2 x 76.3869 kg in the constant-mass variant."""
    target = make_targets(count=2, mass=2.0 * MEAN_MASS)
    grf = target.grf.clone()
    grf[:, :, BODY_INDEX["L_Ankle"]] += torch.tensor([3.0, 0.0, 4.0])
    sums = ErrorSums()
    sums.add(Estimate(impulse=target.impulse + torch.tensor([0.0, 0.03, 0.04]), grf=grf), target)
    means = sums.means()
    assert means["foot_left"] == pytest.approx(5.0, rel=1e-5)
    assert means["foot_left_constant_mass"] == pytest.approx(10.0, rel=1e-5)
    assert means["foot_right"] == pytest.approx(0.0, abs=1e-5)
    assert means["grf"] == pytest.approx(5.0 / 24, rel=1e-5)
    assert means["impulse"] == pytest.approx(0.05, rel=1e-5)
    assert means["impulse_constant_mass"] == pytest.approx(0.10, rel=1e-5)
    assert means["foot_loaded"] == pytest.approx(2.5, rel=1e-5)
    assert means["foot_vertical"] == pytest.approx(2.0, rel=1e-5)
    assert means["total_vertical"] == pytest.approx(4.0, rel=1e-5)


def test_errors_of_opposite_bodies_of_a_foot_cancel_in_the_foot():
    """A foot is the sum of its two bodies, so force put on the toe instead of the ankle is no error of the foot."""
    target = make_targets()
    grf = target.grf.clone()
    grf[:, :, BODY_INDEX["L_Ankle"]] -= 1.0
    grf[:, :, BODY_INDEX["L_Toe"]] += 1.0
    sums = ErrorSums()
    sums.add(Estimate(impulse=None, grf=grf), target)
    assert sums.means()["foot_left"] < 1e-5 < sums.means()["grf"]
    assert "impulse" not in sums.means()


def test_sums_over_batches_are_the_mean_over_windows():
    """Adding in parts gives what adding at once gives."""
    target = make_targets(count=6)
    estimate = Estimate(impulse=target.impulse * 0.5, grf=target.grf * 0.7)
    whole, parts = ErrorSums(), ErrorSums()
    whole.add(estimate, target)
    for rows in (slice(0, 1), slice(1, 6)):
        part = Targets(**{item.name: getattr(target, item.name)[rows] for item in dataclasses.fields(target)})
        assert estimate.impulse is not None
        parts.add(Estimate(impulse=estimate.impulse[rows], grf=estimate.grf[rows]), part)
    assert parts.means() == pytest.approx(whole.means(), rel=1e-6)


def test_contact_baseline_shares_body_weight_between_touching_feet():
    """Left foot with two bodies, right with one: half each, and the left's half in two parts; flight carries nothing."""
    target = make_targets()
    grf = weight_over_true_contact(target).grf
    feet = foot_force(grf)
    assert (feet[..., 2] - GRAVITY / 2).abs().max() < 1e-5
    assert (grf[:, :, BODY_INDEX["L_Toe"], 2] - GRAVITY / 4).abs().max() < 1e-5
    flying = dataclasses.replace(target, grf=torch.zeros_like(target.grf))
    assert weight_over_true_contact(flying).grf.abs().max() == 0
    kneeling = target.grf.clone()
    kneeling[:, :, BODY_INDEX["R_Knee"], 2] = 2.0
    shared = weight_over_true_contact(dataclasses.replace(target, grf=kneeling)).grf
    assert (shared[:, :, BODY_INDEX["R_Knee"], 2] - GRAVITY / 3).abs().max() < 1e-5


def test_mean_baseline_is_the_training_mean():
    """Whatever the motion."""
    estimate = mean_estimate(SCALING)(make_targets())
    assert estimate.impulse is not None
    assert (estimate.impulse == 0.01).all() and estimate.impulse.shape == (4, 23, 3)
    assert (estimate.grf == 0.1).all() and estimate.grf.shape == (4, 2, 24, 3)
