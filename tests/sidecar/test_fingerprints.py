"""Which ids came by of late: what a table of fingerprints knows, forgets and grows to."""

from __future__ import annotations

from pannier_sidecar.tiers.fingerprints import LEAST_PLACES, Fingerprints


def test_fingerprints_know_what_was_added_of_late() -> None:
    """Half as many ids as places are mostly known, ids that never came hardly ever."""
    table = Fingerprints()
    for number in range(512):
        table.add(f"in{number}")
    assert sum(table.knows(f"in{number}") for number in range(512)) > 0.7 * 512
    assert sum(table.knows(f"out{number}") for number in range(100_000)) < 100
    table.forget("in1")
    assert not table.knows("in1")


def test_fingerprints_grow_without_forgetting() -> None:
    """The table doubles, once per call, as far as it is asked to, and knows what it knew."""
    table = Fingerprints()
    for number in range(100):
        table.add(str(number))
    known = [number for number in range(100) if table.knows(str(number))]
    for doublings in (1, 2, 2, 2):
        table.fit(4 * LEAST_PLACES)
        assert len(table) == LEAST_PLACES << doublings
    assert known == [number for number in range(100) if table.knows(str(number))]
    table.fit(4 * LEAST_PLACES + 1)
    assert len(table) == 8 * LEAST_PLACES
    table.fit(LEAST_PLACES)
    assert len(table) == 8 * LEAST_PLACES


def test_a_grown_table_has_room_for_more() -> None:
    """All its places are used: sixteen times as many places know sixteen times as many ids."""
    table = Fingerprints()
    for _ in range(4):
        table.fit(16 * LEAST_PLACES)
    for number in range(8 * LEAST_PLACES):
        table.add(str(number))
    assert sum(table.knows(str(number)) for number in range(8 * LEAST_PLACES)) > 0.7 * 8 * LEAST_PLACES


def test_fingerprints_take_two_kilobytes_at_first_and_sixteen_megabytes_at_most() -> None:
    """However many ids a group holds."""
    table = Fingerprints()
    assert len(table) == 1_024
    for _ in range(20):
        table.fit(1 << 40)
    assert len(table) == 8 << 20


def test_a_table_that_was_told_nothing_knows_nobody() -> None:
    """An empty place is no fingerprint, and neither is one that was forgotten."""
    table = Fingerprints()
    assert not any(table.knows(str(number)) for number in range(400_000))
    for number in range(500):
        table.add(str(number))
    for number in range(500):
        if table.knows(str(number)):
            table.forget(str(number))
            assert not table.knows(str(number))
