"""The solver on whole tracks: frames line up, world axes come back, gaps and ends are NaN, sides are treated alike."""

import numpy as np
import pytest
import torch

from dataset.skeleton import MIRROR_AXIAL, MIRROR_BODY, MIRROR_VECTOR
from kernels.tokens import make_tokens
from model.imdys import ImDyS, ImDySConfig
from model.inference import solve
from model.markers import place_pool, training_pool
from model.scaling import Scaling


@pytest.fixture(scope="module")
def model():
    generator = torch.Generator().manual_seed(4)
    torch.manual_seed(4)
    scaling = Scaling(
        feature_mean=torch.zeros(36), feature_map=torch.randn(18, 36, generator=generator) / 6.0,
        impulse_mean=torch.zeros(23, 3), impulse_std=torch.full((23, 3), 0.02),
        grf_mean=torch.zeros(24, 3), grf_std=torch.full((24, 3), 2.0),
    )  # fmt: skip
    return ImDyS(ImDySConfig(), scaling).eval()


@pytest.fixture(scope="module")
def tracks(sway_sequences):
    record = sway_sequences[3]
    return place_pool(record.subject).place(record.root_pos, record.quat)[:40, :60], record.root_pos[:40, :2]


def test_a_frame_averages_the_two_windows_that_answer_for_it(model, tracks):
    """Frame 20 by hand: window 20 at its time t, window 19 at its time t + 1."""
    markers, origin = tracks
    heading = np.full(40, 0.6)
    solved = solve(model, markers, origin, heading, 70.0, gate=0.0, is_averaged_with_mirror=False)
    centre = np.array([19, 20])
    place = np.concatenate([origin[centre], np.zeros((2, 1))], axis=1)
    index = np.tile(np.arange(60, dtype=np.int32), (2, 1))
    tokens, mask = make_tokens(markers, centre, index, origin=place, heading=heading[centre])
    with torch.no_grad():
        answer = model([(torch.from_numpy(tokens), torch.from_numpy(mask))])
    local = 70.0 * 0.5 * (answer.grf[1, 0] + answer.grf[0, 1]).numpy()
    cosine, sine = np.cos(0.6), np.sin(0.6)
    world = local @ np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]).T
    assert np.abs(solved.grf[20] - world).max() < 1e-3
    assert np.abs(solved.impulse[20] - 70.0 * answer.impulse[1].numpy()).max() < 1e-4


def test_ends_and_long_gaps_have_no_answer_and_short_marker_gaps_do_no_harm(model, tracks):
    """Two frames before the first and three after the last window are NaN, so is where too few markers are whole."""
    markers, origin = tracks
    plain = solve(model, markers, origin, np.zeros(40), 70.0)
    known = np.isfinite(plain.grf).all(axis=(1, 2))
    assert known.tolist() == [False] * 2 + [True] * 36 + [False] * 2
    assert np.isfinite(plain.impulse[2:37]).all() and np.isnan(plain.impulse[[0, 1, 37, 38]]).all()
    gappy = markers.copy()
    gappy[10, :3] = np.nan
    assert np.isfinite(solve(model, gappy, origin, np.zeros(40), 70.0).grf[2:38]).all()
    gappy[20, :55] = np.nan
    solved = solve(model, gappy, origin, np.zeros(40), 70.0)
    assert np.isnan(solved.grf[18:23]).all() and np.isfinite(solved.grf[[16, 26]]).all()


def test_turning_the_laboratory_turns_the_forces_and_nothing_else(model, tracks):
    """Forces and centres of pressure follow, contacts and impulses stay."""
    markers, origin = tracks
    turn, shift = 2.1, np.array([5.0, -3.0, 0.0])
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    first = solve(model, markers, origin, np.zeros(40), 70.0, gate=0.0)
    moved = origin @ rotation[:2, :2].T + shift[:2]
    second = solve(model, markers @ rotation.T + shift, moved, np.full(40, turn), 70.0, gate=0.0)
    known = slice(2, 38)
    assert np.abs(second.grf[known] - first.grf[known] @ rotation.T).max() < 0.05
    assert np.nanmax(np.abs(second.foot_cop - (first.foot_cop @ rotation[:2, :2].T + shift[:2]))) < 1e-3
    assert np.abs(second.contact[known] - first.contact[known]).max() < 1e-3
    assert np.abs(second.impulse[known] - first.impulse[known])[:35].max() < 1e-3


def test_the_mirrored_motion_gets_the_mirrored_answer(model, tracks):
    """Averaging with the mirror image makes the solver exactly symmetric, untrained as it is."""
    markers, origin = tracks
    first = solve(model, markers, origin, np.full(40, 0.3), 70.0, gate=0.0)
    second = solve(model, markers * MIRROR_VECTOR, origin * MIRROR_VECTOR[:2], np.full(40, -0.3), 70.0, gate=0.0)
    bodies = list(MIRROR_BODY)
    joints = np.array(bodies[1:]) - 1
    known = slice(2, 37)
    assert np.abs(second.grf[known] - (first.grf * MIRROR_VECTOR)[:, bodies][known]).max() < 0.05
    assert np.abs(second.impulse[known] - (first.impulse * MIRROR_AXIAL)[:, joints][known]).max() < 1e-3


def test_the_gate_and_the_mass_act_on_forces_as_documented(model, tracks):
    """Forces scale with the mass; gated bodies carry nothing and a foot without load has no centre of pressure."""
    markers, origin = tracks
    light, heavy = (solve(model, markers, origin, np.zeros(40), mass) for mass in (40.0, 80.0))
    assert np.nanmax(np.abs(2.0 * light.grf - heavy.grf)) < 1e-3
    known = slice(2, 38)
    silent = heavy.contact[known] < 0.5
    assert silent.any() and (heavy.grf[known][silent] == 0).all() and (heavy.grf[known][~silent] != 0).any()
    unloaded = heavy.foot_grf[known][..., 2] <= 0
    assert np.isnan(heavy.foot_cop[known][unloaded]).all() and np.isfinite(heavy.foot_cop[known][~unloaded]).all()


def test_wrong_input_is_refused_by_name(model, tracks):
    """Shapes, mass, gaps in the pelvis."""
    markers, origin = tracks
    with pytest.raises(ValueError, match=r"origin: expected shape \(40, 2\)"):
        solve(model, markers, origin[:30], np.zeros(40), 70.0)
    with pytest.raises(ValueError, match="mass: expected a positive number"):
        solve(model, markers, origin, np.zeros(40), 0.0)
    with pytest.raises(ValueError, match="heading: expected finite values"):
        solve(model, markers, origin, np.full(40, np.nan), 70.0)
    assert len(training_pool().dense) == 128
