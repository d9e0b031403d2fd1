"""Exported sequences, read back by the formats' own libraries and by NumPy alone."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dataset.body.default import make_body
from dataset.export import ExportConfig, main
from dataset.fields import FIELDS
from dataset.lab.opensim import read_storage, read_trc
from dataset.skeleton import BODY_NAMES
from dataset.store import Store


@pytest.fixture
def store(tmp_path, three_sequences):
    """A data set of two shards."""
    store = Store.create(tmp_path / "set")
    store.append(three_sequences[:2])
    store.append(three_sequences[2:])
    return store


@pytest.fixture
def files(tmp_path, store):
    """Files of the second sequence in the formats that are written without being asked for."""
    paths = main(ExportConfig(folder=tmp_path / "set", name="made-up-1", out=tmp_path / "out"))
    return {path.name.removeprefix("made-up-1"): path for path in paths}


def test_the_npz_holds_every_array_and_fact(files, three_sequences) -> None:
    """No pickle needed, units and names included."""
    item = three_sequences[1]
    with np.load(files[".npz"], allow_pickle=False) as content:
        for name in ("impulse", "grf", "cop", "quat", "closure_error"):
            np.testing.assert_array_equal(content[name], getattr(item, name))
        assert content["body_names"].tolist() == list(BODY_NAMES) and content["time"][-1] == pytest.approx(22 / 30)
        info = json.loads(str(content["info"]))
    assert info["clip"] == "made-up/turn" and info["subject"]["mass"] == 64.0 and info["units"]["impulse"] == "N·m·s"


def test_the_mot_holds_the_wrenches_of_both_feet_with_y_up(files, three_sequences) -> None:
    """World (x, y, z) becomes OpenSim's (x, z, -y)."""
    item, storage = three_sequences[1], read_storage(files["_grf.mot"])
    table = dict(zip(storage.labels, storage.values.T, strict=True))
    foot = item.grf[:, 7] + item.grf[:, 10]
    has_cop = np.isfinite(item.cop[:, 7, 0])
    assert has_cop.sum() > 5
    np.testing.assert_allclose(table["ground_force_l_vy"][has_cop], foot[has_cop, 2], rtol=1e-6)
    np.testing.assert_allclose(table["ground_force_l_vx"][has_cop], foot[has_cop, 0], rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(table["ground_force_l_px"][has_cop], item.cop[has_cop, 7, 0], rtol=1e-6)
    np.testing.assert_allclose(table["ground_force_l_pz"][has_cop], -item.cop[has_cop, 7, 1], rtol=1e-6)


def test_the_external_loads_name_the_columns_of_the_mot(files) -> None:
    """Each identifier is the beginning of three columns of the data file beside it."""
    loads = ElementTree.parse(files["_external_loads.xml"]).getroot().find("ExternalLoads")
    assert loads.findtext("datafile") == files["_grf.mot"].name
    columns = set(read_storage(files["_grf.mot"]).labels)
    forces = loads.findall("objects/ExternalForce")
    assert [force.findtext("applied_to_body") for force in forces] == ["calcn_r", "calcn_l"]
    named = [force.findtext(key) + axis for force in forces
             for key in ("force_identifier", "point_identifier", "torque_identifier") for axis in "xyz"]  # fmt: skip
    assert set(named) == columns and len(named) == 18


def test_the_trc_holds_markers_where_the_body_was(files, three_sequences) -> None:
    """Read back in world axes: heels between floor and knee, the head above, all near the pelvis."""
    trial = read_trc(files[".trc"])
    place = {name: trial.markers[:, number] for number, name in enumerate(trial.marker_names)}
    assert trial.marker_rate == 120.0 and trial.time[-1] == pytest.approx(22 / 30)
    assert place["LHEE"][:, 2].mean() < 0.7 < place["LFHD"][:, 2].mean()
    assert np.linalg.norm(place["LASI"] - three_sequences[1].root_pos[0], axis=1).max() < 0.6


def test_hdf5_gives_back_every_array_and_fact(tmp_path, store) -> None:
    """A group a sequence in the order of the data set; equal data give equal bytes."""
    h5py = pytest.importorskip("h5py")
    [path] = main(ExportConfig(folder=tmp_path / "set", out=tmp_path / "out", to=("hdf5",)))
    with h5py.File(path) as file:
        assert list(file["sequences"]) == ["000000", "000001", "000002"] and file.attrs["content"] == store.content
        for item, group in zip(store, file["sequences"].values(), strict=True):
            assert group.attrs["name"] == item.name and group.attrs["seed"] == item.seed
            assert json.loads(group.attrs["subject"])["mass"] == item.subject.mass
            for field in FIELDS:
                np.testing.assert_array_equal(group[field.name][()], getattr(item, field.name))
                assert group[field.name].attrs["unit"] == field.unit and group[field.name].dtype == field.dtype
    [again] = main(ExportConfig(folder=tmp_path / "set", out=tmp_path / "again", to=("hdf5",)))
    assert again.read_bytes() == path.read_bytes()


def test_parquet_holds_a_row_a_frame_with_nulls_where_no_transition_starts(tmp_path, store) -> None:
    """Flattened arrays; shapes and units in the metadata; one sequence is one row group."""
    parquet = pytest.importorskip("pyarrow.parquet")
    [path] = main(ExportConfig(folder=tmp_path / "set", out=tmp_path / "out", to=("parquet",)))
    file = parquet.ParquetFile(path)
    about = json.loads(file.schema_arrow.metadata[b"imdylab"])
    assert file.num_row_groups == 3 and about["content"] == store.content
    for number, item in enumerate(store):
        table = file.read_row_group(number)
        assert set(table["name"].to_pylist()) == {item.name} and table["frame"].to_pylist() == list(
            range(item.num_frames)
        )
        for field in FIELDS:
            column = table[field.name]
            rows = column.drop_null().to_pylist()
            found = np.array(rows, field.dtype).reshape(len(rows), *about["fields"][field.name]["shape"])
            np.testing.assert_array_equal(found, getattr(item, field.name), err_msg=field.name)
            assert column.null_count == (field.per == "transition") and not (
                column.null_count and column[0].as_py() is None
            )


def test_the_imdy_layout_has_their_shapes_frames_and_sums_of_torques(tmp_path, store) -> None:
    """Joint positions of the subject's own skeleton; impulse = sum of two torques / 60 Hz; transitions only."""
    paths = main(ExportConfig(folder=tmp_path / "set", out=tmp_path / "out", to=("imdy",)))
    lists = {path.stem: dict(np.load(path, allow_pickle=False)) for path in paths[:5]}
    assert list(lists) == ["pos", "rot", "torque", "grf", "weight"]
    for number, item in enumerate(store):
        pos, rot, torque, grf, weight = (values[f"{number:05d}"] for values in lists.values())
        frames = item.num_frames - 1
        assert pos.shape == torque.shape == grf.shape == (frames, 24, 3) and rot.shape == (frames, 24, 4)
        assert weight == np.float32(item.subject.mass) and not torque[:, 0].any()
        np.testing.assert_allclose(torque[:, 1:] / 60, item.impulse, rtol=1e-6)
        np.testing.assert_array_equal(grf, item.grf[:-1])
        np.testing.assert_allclose(pos[:, 0], item.root_pos[:-1], rtol=1e-6)
        np.testing.assert_allclose(rot[:, 0], item.quat[:-1, 0], atol=1e-6)
        rest = make_body(item.subject).joint_pos
        bones = np.linalg.norm(pos[:, [4, 7, 18]] - pos[:, [1, 4, 16]], axis=-1)
        np.testing.assert_allclose(
            bones, np.tile(np.linalg.norm(rest[[4, 7, 18]] - rest[[1, 4, 16]], axis=-1), (frames, 1)), rtol=1e-5
        )
    names = [row["name"] for row in json.loads(paths[5].read_text())]
    assert names == [item.name for item in store] and store.content in paths[6].read_text()
    again = main(ExportConfig(folder=tmp_path / "set", out=tmp_path / "again", to=("imdy",)))
    assert [path.read_bytes() for path in again[:5]] == [path.read_bytes() for path in paths[:5]]


def test_an_unknown_name_and_names_that_are_one_file_are_explained(tmp_path, three_sequences, build_dynamics) -> None:
    """The error lists what there is; nothing is overwritten silently."""
    Store.create(tmp_path / "set").append(three_sequences)
    with pytest.raises(ValueError, match="expected a sequence or clip 'walk', found others: made-up-0"):
        main(ExportConfig(folder=tmp_path / "set", name="walk", out=tmp_path / "out"))
    Store.create(tmp_path / "twins").append([build_dynamics("a/b"), build_dynamics("a_b", seed=1)])
    with pytest.raises(ValueError, match="expected names that differ as file names, found 'a_b' twice"):
        main(ExportConfig(folder=tmp_path / "twins", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_format_without_its_package_says_what_to_install(tmp_path, store, monkeypatch) -> None:
    """Not a traceback of an import, and no file left."""
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ValueError, match=r"HDF5: expected the package h5py, found .*EXTRAS=demo,dev,export"):
        main(ExportConfig(folder=tmp_path / "set", out=tmp_path / "out", to=("hdf5",)))
    assert not (tmp_path / "out").exists()
