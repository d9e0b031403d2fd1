"""Addresses of object stores: told from folders, joined, and refused with a key in them without repeating it."""

from pathlib import Path

import pytest

from dataset.place import absolute, is_address, join, last_name, require_no_key, split_last
from dataset.storage import open_storage
from dataset.user_paths import require_output_folder


def test_text_with_a_scheme_is_an_address_and_a_path_never_is() -> None:
    assert is_address("s3://bucket/data") and is_address("gs://bucket")
    assert not is_address("data/set") and not is_address("/data/set") and not is_address(Path("C:set"))
    with pytest.raises(ValueError, match="found what looks like an address of an object store"):
        is_address(Path("s3://bucket/data"))
    for place in ("s3://bucket/data", Path("s3://bucket/data")):
        with pytest.raises(ValueError, match="give a folder"):
            require_output_folder(place)


def test_names_go_before_the_settings_of_an_address() -> None:
    address = "s3://bucket/data/?region=eu-west-1"
    assert join(address, "solutions", "a b.npz") == "s3://bucket/data/solutions/a b.npz?region=eu-west-1"
    assert join("s3://bucket", "x") == "s3://bucket/x"
    assert split_last("s3://bucket/data/x.npz?region=eu") == ("s3://bucket/data?region=eu", "x.npz")
    assert last_name(address) == "data" and last_name(Path("a/b")) == "b"
    assert join(Path("a"), "b") == Path("a/b") and absolute(address) == address
    assert absolute(Path("a")) == Path.cwd() / "a"


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKSECRETKEY:hush-hush@bucket/data",
        "s3://AKSECRETKEY@bucket/data",
        "s3://bucket/data?secret_key=hush-hush&region=x",
        "s3://bucket/data?region=x&hush=hush-hush",
        "gs://SECRETKEY:hush-hush@bucket/data",
        "abfss://container:hush-hush@SECRETKEY/data",
        "abfss://container@account/data?client_secret=hush-hush",
        "hdfs://user:hush-hush@SECRETKEY/data?hush-hush=hush",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_repeated(address) -> None:
    for refuse in (require_no_key, open_storage):
        with pytest.raises(ValueError, match="keys do not belong into addresses") as caught:
            refuse(address)
        assert "hush-hush@" not in str(caught.value) and "AKSECRET" not in str(caught.value)
        assert "=" not in str(caught.value).replace("endpoint_override", "")


def test_addresses_without_a_key_pass() -> None:
    for address in (
        "s3://b/d?region=x&endpoint_override=h:1&scheme=http",
        "gs://anonymous@b/d",
        "abfss://container@account/d",
    ):
        require_no_key(address)


def test_what_arrow_does_not_open_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"ftp://host/data: expected an address that Arrow opens .* correct it"):
        open_storage("ftp://host/data")
    with pytest.raises(ValueError, match=r"expected an object store at 127.0.0.1:1, found .*refused"):
        open_storage("s3://bucket/data?endpoint_override=127.0.0.1:1&scheme=http")
    assert open_storage(f"file://{tmp_path}/set").place == tmp_path / "set"
