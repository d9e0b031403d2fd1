"""Atomic files: complete or not there."""

import pytest

from dataset import atomic


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path) -> None:
    """The old content stays until the new one is complete."""
    path = tmp_path / "deep" / "file.txt"
    atomic.write_text(path, "old")
    with pytest.raises(RuntimeError, match="stop"), atomic.open_atomic(path) as file:
        file.write(b"half of the ne")
        raise RuntimeError("stop")
    assert path.read_text() == "old" and [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
    atomic.write_text(path, "new")
    assert path.read_text() == "new"


def test_nothing_is_visible_under_the_name_before_the_end(tmp_path) -> None:
    """Readers never see a part."""
    path = tmp_path / "file.bin"
    with atomic.open_atomic(path) as file:
        file.write(b"x" * 1000)
        file.flush()
        assert not path.exists()
        assert all(entry.name.startswith(atomic.TEMPORARY_PREFIX) for entry in tmp_path.iterdir())
    assert path.stat().st_size == 1000


def test_json_keeps_order_and_refuses_numbers_that_are_none(tmp_path) -> None:
    """Readable by any parser; NaN is not JSON."""
    atomic.write_json(tmp_path / "a.json", {"b": 1, "a": "N·m"})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": 1,\n  "a": "N·m"\n}\n'
    with pytest.raises(ValueError, match="Out of range float"):
        atomic.write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
