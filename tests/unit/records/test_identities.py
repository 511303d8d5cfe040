"""Ids of images are UUIDs that go up with time."""

import uuid

from tests.support.publishing import MovedClock
from watcher.records.identities import image_id, new_ids


def test_an_id_is_a_uuid_of_version_7() -> None:
    """Time, version, variant and random bits are where RFC 9562 has them; this is its own example."""
    example = uuid.UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    found = image_id(1_645_557_742.0, example.bytes[6:])

    assert found == str(example)
    assert uuid.UUID(image_id(1_645_557_742.0, bytes(10))).variant == uuid.RFC_4122
    assert uuid.UUID(image_id(1_645_557_742.0, b"\xff" * 10)).version == 7


def test_ids_differ_and_go_up_with_time() -> None:
    """Those of one moment differ; those of a later one come behind them."""
    clock = MovedClock()
    new_id = new_ids(clock)
    first = {new_id() for _ in range(1_000)}
    clock.move(0.001)

    assert len(first) == 1_000
    assert max(first) < new_id()
