"""SMPL files of a user's own: the official pickle's layout is read without chumpy, and a pickle that runs code is refused."""

import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csc_matrix

from dataset.body.default import make_body
from dataset.body.marker_sets import marker_points, marker_set
from dataset.body.smpl import ROT_OURS_SMPL, load_smpl
from dataset.schema import Subject
from dataset.skeleton import NUM_BODIES, PARENTS

SUBJECT = Subject(name="model", height=1.8, mass=72.0)
STEP = 15  # one corner of every fifteenth triangle of the default body is merged away: a topology of its own


def smpl_arrays() -> dict[str, np.ndarray]:
    """A body in SMPL's format and axes, made from the default body by merging vertices (no licensed data)."""
    body = make_body(SUBJECT)
    order = np.arange(len(body.vertices))
    # Collapse one corner of every STEP-th triangle onto another and drop what becomes flat.
    for triangle in body.faces[::STEP]:
        order[order == triangle[0]] = order[triangle[1]]
    kept, index = np.unique(order, return_inverse=True)
    faces = index[body.faces]
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    vertices = body.vertices[kept] @ ROT_OURS_SMPL
    joints = body.joint_pos @ ROT_OURS_SMPL
    regressor = np.zeros((NUM_BODIES, len(kept)))
    for joint in range(NUM_BODIES):
        near = np.argsort(np.linalg.norm(vertices - joints[joint], axis=1))[:60]
        system = np.vstack([vertices[near].T, np.ones(len(near))])
        regressor[joint, near] = np.linalg.lstsq(system, np.append(joints[joint], 1.0), rcond=None)[0]
    directions = np.zeros((len(kept), 3, 10))
    directions[:, :, 0] = 0.02 * vertices  # the first coefficient: 2 % larger
    table = np.stack([np.array(PARENTS, dtype=np.int64) % 2**32, np.arange(NUM_BODIES)])
    return {
        "v_template": vertices - np.array([0.0, 0.3, 0.1]), "shapedirs": directions, "J_regressor": regressor,
        "weights": body.weights[kept].astype(np.float64), "kintree_table": table, "f": faces.astype(np.uint32),
    }  # fmt: skip


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return smpl_arrays()


@pytest.fixture
def official(tmp_path: Path, arrays, monkeypatch) -> Path:
    """The arrays pickled as in the official files: chumpy arrays, a sparse regressor, extra keys, protocol 2."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        pass

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    chumpy_array = Ch()
    chumpy_array.__dict__ = {"x": arrays["shapedirs"], "_dirty_vars": set(), "_status": "new"}
    content = arrays | {
        "shapedirs": chumpy_array, "J_regressor": csc_matrix(arrays["J_regressor"]), "bs_style": "lbs", "pose_training_info": {},
    }  # fmt: skip
    path = tmp_path / "basicmodel_m.pkl"
    path.write_bytes(pickle.dumps(content, protocol=2))
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    monkeypatch.delitem(sys.modules, "chumpy")
    return path


def test_official_layout_is_read_without_chumpy(official: Path, arrays):
    body, default = load_smpl(official, SUBJECT), make_body(SUBJECT)
    assert "chumpy" not in sys.modules
    assert body.vertices.shape == arrays["v_template"].shape
    assert len(body.vertices) < len(default.vertices)
    np.testing.assert_allclose(body.joint_pos, default.joint_pos, atol=0.005)
    np.testing.assert_allclose(body.mass, default.mass, rtol=0.1)
    assert body.mass.sum() == pytest.approx(SUBJECT.mass)
    assert body.vertices[:, 2].min() == pytest.approx(0.0, abs=1e-12)
    assert np.ptp(body.vertices[:, 2]) == pytest.approx(SUBJECT.height)
    assert (np.linalg.eigvalsh(body.inertia) > 0).all()
    assert {shape.body for shape in body.shapes} == set(range(NUM_BODIES))


def test_npz_and_pickle_give_the_same_body(official: Path, arrays, tmp_path: Path):
    np.savez(tmp_path / "smpl.npz", **arrays)
    from_npz, from_pickle = load_smpl(tmp_path / "smpl.npz", SUBJECT), load_smpl(official, SUBJECT)
    np.testing.assert_array_equal(from_npz.vertices, from_pickle.vertices)
    np.testing.assert_array_equal(from_npz.joint_pos, from_pickle.joint_pos)


def test_betas_set_the_height_and_none_scales_to_the_subject(arrays, tmp_path: Path):
    np.savez(tmp_path / "smpl.npz", **arrays)
    tall = load_smpl(tmp_path / "smpl.npz", Subject(name="s", height=1.5, mass=72.0), np.array([5.0]))
    assert tall.subject.height == pytest.approx(1.1 * np.ptp(arrays["v_template"][:, 1]))
    small = load_smpl(tmp_path / "smpl.npz", Subject(name="s", height=1.5, mass=50.0))
    assert np.ptp(small.vertices[:, 2]) == pytest.approx(1.5)


def test_marker_sets_move_to_the_other_topology(official: Path):
    body, default = load_smpl(official, SUBJECT), make_body(SUBJECT)
    for name in ("plug_in_gait_39", "dense"):
        markers = marker_set(name)
        here, bodies, weights = marker_points(body, markers)
        there, _, _ = marker_points(default, markers)
        gap = np.linalg.norm(body.vertices[None] - there[:, None], axis=2).min(axis=1)
        assert (np.linalg.norm(here - there, axis=1) < gap + 0.01).all()  # as near as the other mesh has a vertex
        assert bodies.shape == weights.shape == (len(here), 4)


class Touch:
    """Runs a command when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Evaluate:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


class Load:
    """numpy.load may unpickle again: only three functions of numpy are allowed, and this is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return np.load, (str(self.path), None, True)


@pytest.mark.parametrize("attack", [Touch, Evaluate, Load])
def test_a_pickle_that_runs_code_is_refused_before_it_runs(tmp_path: Path, arrays, attack):
    victim, path = tmp_path / "victim", tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps(arrays | {"J": attack(victim)}, protocol=2))
    with pytest.raises(ValueError, match="refused") as failure:
        load_smpl(path, SUBJECT)
    assert str(path) in str(failure.value)
    assert not victim.exists()


def test_reconstructors_cannot_be_turned_on_other_classes(tmp_path: Path):
    # copyreg._reconstructor(Path, object, None), written by hand as opcodes.
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"ccopyreg\n_reconstructor\n(cpathlib\nPath\nc__builtin__\nobject\nNtR.")
    with pytest.raises(ValueError, match=r"pathlib\.Path"):
        load_smpl(path, SUBJECT)


def test_wrong_files_are_refused_with_what_was_expected(tmp_path: Path, arrays):
    def saved(**changes) -> Path:
        path = tmp_path / "wrong.npz"
        np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
        return path

    with pytest.raises(FileNotFoundError, match="no such file"):
        load_smpl(tmp_path / "absent.pkl", SUBJECT)
    with pytest.raises(ValueError, match="missing shapedirs"):
        load_smpl(saved(shapedirs=None), SUBJECT)
    with pytest.raises(ValueError, match="SMPL-X"):
        load_smpl(saved(kintree_table=np.zeros((2, 55), dtype=np.int64)), SUBJECT)
    with pytest.raises(ValueError, match="parents"):
        load_smpl(saved(kintree_table=np.zeros((2, 24), dtype=np.int64)), SUBJECT)
    with pytest.raises(ValueError, match=r"weights: expected shape"):
        load_smpl(saved(weights=arrays["weights"][:-1]), SUBJECT)
    with pytest.raises(ValueError, match="NaN"):
        load_smpl(saved(v_template=arrays["v_template"] * np.nan), SUBJECT)
    with pytest.raises(ValueError, match="not in metres"):
        load_smpl(saved(v_template=arrays["v_template"] * 1000.0), SUBJECT)
    with pytest.raises(ValueError, match="Python objects"):
        load_smpl(saved(f=np.array([None], dtype=object)), SUBJECT)
    with pytest.raises(ValueError, match="betas"):
        load_smpl(saved(), SUBJECT, np.zeros(11))


def test_damaged_and_foreign_pickles_are_refused(tmp_path: Path):
    path = tmp_path / "damaged.pkl"
    for content in (b"", b"\x80\x02}q\x01", pickle.dumps([1, 2]), b"plain text, no pickle at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged\.pkl"):
            load_smpl(path, SUBJECT)
