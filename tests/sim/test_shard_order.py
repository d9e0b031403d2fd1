"""What becomes of finished items: blocks in the order of the work, without what the data set has."""

import pytest

from dataset.manifest import Dropped, record_key
from dataset.store import Store
from sim.imitate_clip import ItemOutcome, RecordFacts
from sim.shard_order import Finished, ShardOrder


@pytest.fixture
def order(sway_sequences, tmp_path):
    """For three items, into a data set that has the record of one already: order(place, sequence)."""
    store = Store.create(tmp_path)
    store.append(sway_sequences[:1])
    made = ShardOrder([0, 1, 2], store, shard_seconds=1e-3)

    def put(place, sequence, dropped=()):
        facts = RecordFacts(
            name=sequence.name, clip=sequence.clip, subject=sequence.subject.name, seed=sequence.seed,
            key=record_key(sequence), transitions=sequence.num_frames - 1,
        )  # fmt: skip
        outcome = ItemOutcome(kept=[sequence], recorded=[facts], dropped=list(dropped))
        outcome.report.kept = facts.transitions
        return list(made.put(Finished(place=place, outcome=outcome, records=[sequence])))

    return put


def test_blocks_come_in_the_order_of_the_work(order, sway_sequences):
    assert order(2, sway_sequences[3]) == [] and order(1, sway_sequences[2]) == []
    assert [block.records for block in order(0, sway_sequences[1])] == [[[sway_sequences[n]]] for n in (1, 2, 3)]


def test_a_record_that_the_data_set_has_makes_no_empty_shard(order, sway_sequences):
    assert order(0, sway_sequences[0]) == []
    [block] = order(1, sway_sequences[0], [Dropped(clip="a/b", subject="c", seed=0, reason="error", seconds=0.0)])
    assert block.records == [] and len(block.dropped) == 1, "a loss that is new is stored all the same"
