"""Where files lie: a folder, or an address of an object store such as `s3://bucket/data` that Arrow opens.

An address holds no key. Keys come from where the store's own tools look for them: the environment (`AWS_ACCESS_KEY_ID`,
`GOOGLE_APPLICATION_CREDENTIALS` ...), their files in the home folder, or the role of the machine. So an address may be logged
and written into `run.json`; one with a key in it is refused, and the refusal does not repeat the key.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

Place = str | Path
"""A folder, or an address with a scheme: `s3://bucket/data`, `gs://bucket/data`. Text with `://` in it is an address."""

_SETTINGS: Final = frozenset({
    "allow_bucket_creation", "endpoint_override", "region", "scheme", "tls_ca_file_path", "tls_verify_certificates",
    "project_id", "retry_limit_seconds", "enable_tls", "blob_storage_authority", "dfs_storage_authority",
    "blob_storage_scheme", "dfs_storage_scheme",
})  # fmt: skip
"""What may stand behind the `?` of an address: no setting of Arrow's that can hold a key is among them."""


def is_address(place: str | Path) -> bool:
    """Whether it is an address, not a folder.

    Raises:
        ValueError: An address was made a path, which loses one of its slashes.
    """
    if isinstance(place, Path):
        if re.match(r"[A-Za-z][\w+.-]+:/", str(place)):
            raise ValueError(
                f"{place}: expected a folder of this machine, found what looks like an address of an object store; give a "
                "folder, or, where a data set is read or collected, the address as text"
            )
        return False
    return "://" in place


def require_no_key(address: str) -> None:
    """Refuse an address with a key, password or unknown setting in it, without repeating it.

    Raises:
        ValueError: There is one.
    """
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    bare = f"{parts.scheme}://{host}{parts.path}"
    advice = (
        "keys do not belong into addresses, which are logged: leave them to the environment (AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS), their files in the home folder, or the machine's role"
    )
    names_user = parts.scheme in {"s3", "gs", "gcs"} and user != "anonymous"
    if at and (":" in user or names_user):
        raise ValueError(f"{bare}: expected an address without a key, found one before the @; {advice}")
    unknown = sorted({key for key, _ in parse_qsl(parts.query, keep_blank_values=True)} - _SETTINGS)
    if unknown:
        raise ValueError(
            f"{bare}: expected settings among {', '.join(sorted(_SETTINGS))}, found {', '.join(unknown)}; {advice}"
        )


def join(place: str | Path, *names: str) -> str | Path:
    """A file or folder in a folder or at an address; settings of the address stay behind."""
    if not is_address(place):
        return Path(place).joinpath(*names)
    parts = urlsplit(str(place))
    return parts._replace(path="/".join([parts.path.rstrip("/"), *names])).geturl()


def split_last(address: str) -> tuple[str, str]:
    """Address of the folder that something is in, and its name there."""
    parts = urlsplit(address)
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return parts._replace(path=folder).geturl(), name


def last_name(place: str | Path) -> str:
    """Last part of a path or address."""
    return Path(urlsplit(str(place)).path if is_address(place) else place).name


def absolute(place: str | Path) -> str | Path:
    """The same place for a process that runs in another folder."""
    return place if is_address(place) else Path(place).resolve()
