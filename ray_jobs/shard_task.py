"""A block of records written as a shard, by a process that has nothing else to do.

In a file of its own, which imports no physics: the process that writes begins in a quarter of a second instead of two, which it
would take from those that simulate.
"""

from __future__ import annotations

from dataset.manifest import Dropped
from dataset.schema import Dynamics
from dataset.storage import Folder, open_storage
from sim.resume import LOCK


def write_shard(place: str, left_out: frozenset[str], dropped: list[Dropped], *records: list[Dynamics]) -> str:
    """Write records and losses as one shard of a data set that exists.

    Args:
        place: Data set, folder or address.
        left_out: Names of records that are stored already.
        dropped: Losses of the block.
        records: Records of each of its items.

    Returns:
        Name of the shard.

    Raises:
        ValueError: The folder of the data set is not here: not all machines of the cluster see it.
        OSError: It could not be written.
    """
    kept = [record for made in records for record in made if record.name not in left_out]
    storage = open_storage(place)
    if isinstance(storage, Folder) and not (storage.place / LOCK).is_file():
        raise ValueError(
            f"{place}: expected the folder that the collection made, found none of it on this machine of the cluster; give an "
            "--out that all of them see under this name, or an address of an object store"
        )
    with storage.prepare(kept, dropped) as prepared:
        storage.publish(prepared)
        return prepared.name
