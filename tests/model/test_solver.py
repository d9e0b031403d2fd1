"""The network: shapes, invariances, scales, and that weights survive the disk and refuse damage."""

import dataclasses

import pytest
import torch

from kernels.encoder import reference
from model.encoders import SelfAttentionEncoder
from model.imdys import HEAD_WIDTHS, ImDyS, ImDySConfig
from model.scaling import Scaling, standardising, whitening
from model.weights import DataSource, ModelCard, load_solver, read_card, save_solver

GENERATOR = torch.Generator().manual_seed(0)


def make_scaling(features: int = 36) -> Scaling:
    """Scales of random data."""
    return Scaling(
        feature_mean=torch.randn(features, generator=GENERATOR),
        feature_map=torch.randn(18, features, generator=GENERATOR) / 6.0,
        impulse_mean=torch.zeros(23, 3), impulse_std=torch.full((23, 3), 0.02),
        grf_mean=torch.zeros(24, 3), grf_std=torch.full((24, 3), 0.5),
    )  # fmt: skip


def make_groups(*sizes: tuple[int, int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Random groups of (windows, markers)."""
    return [(torch.randn(b, m, 36, generator=GENERATOR), torch.ones(b, m, dtype=torch.bool)) for b, m in sizes]


@pytest.mark.parametrize("design", ["pooled", "encoder"])
def test_every_head_has_its_shape_and_directions_are_unit_vectors(design):
    """332 outputs as released and 8 for the centres of pressure; magnitudes are positive."""
    model = ImDyS(ImDySConfig(design=design), make_scaling())
    prediction = model(make_groups((3, 22), (2, 40)))
    assert sum(HEAD_WIDTHS.values()) == 332 + 8
    assert prediction.impulse.shape == (5, 23, 3)
    assert prediction.grf.shape == (5, 2, 24, 3)
    assert prediction.foot_cop.shape == (5, 2, 2, 2)
    assert (prediction.impulse_direction.norm(dim=-1) - 1).abs().max() < 1e-5
    assert (prediction.grf_direction.norm(dim=-1) - 1).abs().max() < 1e-5
    assert (prediction.impulse_magnitude > 0).all() and (prediction.grf_magnitude > 0).all()


@pytest.mark.parametrize("design", ["pooled", "encoder"])
def test_prediction_does_not_depend_on_marker_order_or_on_absent_markers(design):
    """No marker identity anywhere: any laboratory's set can be given in any order, gaps masked."""
    model = ImDyS(ImDySConfig(design=design), make_scaling()).double()
    ((tokens, mask),) = make_groups((4, 30))
    tokens = tokens.double()
    mask[:, 25:] = False
    expected = model([(tokens, mask)])
    order = torch.randperm(30, generator=GENERATOR)
    changed = torch.where(mask[..., None], tokens, torch.tensor(7.0, dtype=torch.float64))[:, order]
    actual = model([(changed, mask[:, order])])
    assert (actual.grf - expected.grf).abs().max() < 1e-10
    short = model([(tokens[:, :25], mask[:, :25])])
    assert (short.impulse - expected.impulse).abs().max() < 1e-10


def test_folded_and_reference_backends_predict_the_same():
    """The kernel choice is invisible in the result."""
    model = ImDyS(ImDySConfig(), make_scaling())
    groups = make_groups((6, 53))
    folded, plain = model(groups, backend="folded"), model(groups, backend="reference")
    assert (folded.grf - plain.grf).abs().max() < 1e-4
    assert reference.LAYER_NORM_EPS == 1e-5


def test_self_attention_is_pytorchs_and_takes_the_states_that_named_it_so():
    """A file written when the layers were an nn.TransformerEncoder predicts what it predicted."""
    old = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, dtype=torch.float64), 2,
        torch.nn.LayerNorm(16, dtype=torch.float64), enable_nested_tensor=False,
    )  # fmt: skip
    with torch.no_grad():
        for value in old.parameters():
            value.normal_(0.0, 0.3)
    model = SelfAttentionEncoder(width=16, heads=4, layers=2, ff=24).double()
    state = {f"stack.{name}": value for name, value in old.state_dict().items()} | {"query": model.query.detach()}
    model.load_state_dict(state)
    embed = torch.randn(16, 36, dtype=torch.float64), torch.randn(16, dtype=torch.float64)
    ((tokens, mask),) = make_groups((5, 9))
    mask[1, 4:] = False
    sequence = torch.cat([model.query.expand(5, 1, -1), tokens.double() @ embed[0].T + embed[1]], dim=1)
    expected = old(sequence, src_key_padding_mask=torch.cat([mask.new_zeros(5, 1), ~mask], dim=1))[:, 0]
    assert (model([(tokens.double(), mask)], embed) - expected).abs().max() < 1e-12
    del state["stack.layers.1.norm2.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*layers\.1\.norm_bias"):
        SelfAttentionEncoder(width=16, heads=4, layers=2, ff=24).double().load_state_dict(state)


def test_scaling_of_inputs_is_part_of_the_input_map():
    """raw_embed is the embedding of the scaled features, as one linear map."""
    model = ImDyS(ImDySConfig(), make_scaling()).double()
    scaling = model.scaling
    tokens = torch.randn(7, 36, generator=GENERATOR, dtype=torch.float64)
    weight, bias = model.raw_embed()
    expected = model.embed((tokens - scaling.feature_mean) @ scaling.feature_map.T)
    assert (tokens @ weight.T + bias - expected).abs().max() < 1e-10


def test_an_untrained_solver_answers_about_the_mean_of_its_training_data():
    """Training begins at the mean predictor, not at forces of random size and direction."""
    mean = torch.zeros(24, 3)
    mean[7] = torch.tensor([0.1, 0.0, 4.0])
    scaling = dataclasses.replace(make_scaling(), grf_mean=mean, grf_std=torch.full((24, 3), 2.0))
    torch.manual_seed(0)
    grf = ImDyS(ImDySConfig(), scaling)(make_groups((16, 30))).grf
    assert (grf[:, :, 7].mean(0) - mean[7]).abs().max() < 1.0
    assert (torch.nn.functional.normalize(grf[:, :, 7], dim=-1)[..., 2] > 0.8).all()


def test_gate_silences_forces_where_contact_is_unlikely():
    """Bodies below the probability carry exactly nothing, others are untouched."""
    prediction = ImDyS(ImDySConfig(), make_scaling())(make_groups((8, 30)))
    gated = prediction.gated_grf(0.5)
    touches = prediction.contact_logit > 0
    assert touches.any() and (~touches).any()
    assert torch.equal(gated[touches], prediction.grf[touches])
    assert (gated[~touches] == 0).all()


def test_whitening_decorrelates_drops_dependent_features_and_spares_noise():
    """Six positions an axis of tracks up to 5 Hz and their differences: rank 18, unit variance."""
    time = torch.arange(6, dtype=torch.float64) / 30.0
    phase = 6.3 * torch.rand(4000, 1, 3, generator=GENERATOR, dtype=torch.float64)
    speed = 31.0 * torch.rand(4000, 1, 3, generator=GENERATOR, dtype=torch.float64)
    position = torch.sin(phase + speed * time[:, None])
    velocity = torch.gradient(position, spacing=1 / 30.0, dim=1)[0]
    features = torch.cat([position, velocity], dim=-1).flatten(1)
    mean, feature_map = whitening(features)
    white = (features - mean) @ feature_map.double().T
    assert feature_map.shape == (18, 36)
    covariance = white.T @ white / len(white)
    assert (covariance - torch.diag(torch.diag(covariance))).abs().max() < 1e-3
    assert torch.diag(covariance).max() == pytest.approx(1.0, abs=1e-3)
    noise = 0.002 * torch.randn(4000, 6, 3, generator=GENERATOR, dtype=torch.float64)
    noisy = torch.cat([noise, torch.gradient(noise, spacing=1 / 30.0, dim=1)[0]], dim=-1).flatten(1)
    assert (noisy @ feature_map.double().T).std(0).max() < 1.5
    plain_mean, plain_map = standardising(features)
    assert (((features - plain_mean) @ plain_map.double().T).std(0) - 1).abs().max() < 1e-3


@pytest.mark.parametrize("design", ["pooled", "encoder"])
def test_weights_and_card_survive_the_disk(tmp_path, design):
    """A loaded solver predicts bit for bit what the saved one did, and the card comes back equal."""
    model = ImDyS(ImDySConfig(design=design, width=32, layers=2), make_scaling())
    card = ModelCard(
        name="test", summary="A test.", sources=(DataSource(name="a", licence="MIT", sequences=2, minutes=1.5),),
        errors={"solver": {"grf": 0.3}}, test_clips=("a/b",), limits=("Nothing real.",),
    )  # fmt: skip
    path = save_solver(tmp_path / "solver.safetensors", model, card)
    groups = make_groups((3, 25))
    assert torch.equal(load_solver(path)(groups).grf, model(groups).grf)
    assert read_card(path) == card
    text = path.with_suffix(".md").read_text()
    assert "| a | MIT | 2 | 1.5 |" in text and "Nothing real." in text and "| force, 24 bodies | N/kg | 0.3 |" in text


def test_damaged_or_foreign_weights_are_refused_by_name(tmp_path):
    """Every failure names the file and what was expected."""
    with pytest.raises(ValueError, match=r"none\.safetensors: no such file"):
        load_solver(tmp_path / "none.safetensors")
    model = ImDyS(ImDySConfig(width=32, layers=1), make_scaling())
    path = save_solver(tmp_path / "solver.safetensors", model, ModelCard(name="x", summary="y"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"solver\.safetensors: expected a safetensors file"):
        load_solver(path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="format: expected 'imdylab-imdys-1' in its metadata, found None"):
        load_solver(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"expected a name ending in \.safetensors"):
        save_solver(tmp_path / "solver.pt", model, ModelCard(name="x", summary="y"))
    with pytest.raises(ValueError, match="expected maps of 24 features, got 36"):
        ImDyS(ImDySConfig(features=24), make_scaling())
    assert dataclasses.is_dataclass(Scaling)
