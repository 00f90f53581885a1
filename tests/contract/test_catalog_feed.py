"""The forms of a sidecar's question for its catalog: written by one side, read by the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pannier.catalog_feed import (
    MOST_HEADER,
    MOST_REJECTED,
    MOST_WAIT_SECONDS,
    etag,
    prefer_wait,
    read_rejected,
    revision_of,
    wait_of,
    write_rejected,
)

_GROUPS = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,60}", fullmatch=True)
_REASONS = st.from_regex(r"[A-Z][A-Za-z]{0,30}", fullmatch=True)


@given(st.integers(0, 10**17))
def test_a_revision_survives_as_an_entity_tag(revision: int) -> None:
    """What a sidecar has heard of comes back in its next question."""
    assert revision_of(etag(revision)) == revision


@pytest.mark.parametrize("tag", [None, "", "7", 'W/"7"', '"x"', '"7", "8"', '"\u0667"', '"' + "9" * 30 + '"'])
def test_what_is_no_tag_of_ours_is_none(tag: str | None) -> None:
    """It counts as if nothing had been heard of."""
    assert revision_of(tag) is None


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (prefer_wait(30), 30),
        ("respond-async, wait=5", 5),
        ("Wait=7; foo", 7),
        ("wait=99999", MOST_WAIT_SECONDS),
        ("await=5", 0),
        ("wait=-1", 0),
        ("wait=", 0),
        (None, 0),
    ],
)
def test_a_wait_is_bounded_and_none_where_none_is_asked_for(prefer: str | None, seconds: int) -> None:
    """A request is never kept for longer than a minute."""
    assert wait_of(prefer) == seconds


@given(st.dictionaries(_GROUPS, _REASONS, max_size=MOST_REJECTED))
def test_rejected_groups_survive_their_header(rejected: dict[str, str]) -> None:
    """Each with its reason."""
    assert read_rejected(write_rejected(rejected.items())) == rejected


def test_a_header_names_a_bounded_number_of_groups() -> None:
    """However many a sidecar cannot use."""
    many = [(f"group_{number:04d}", "GroupUnreadable") for number in range(10 * MOST_REJECTED)]
    assert len(read_rejected(write_rejected(many))) == MOST_REJECTED
    long = [(f"{number:02d}{'g' * 126}", "R" * 64) for number in range(MOST_REJECTED)]
    header = write_rejected(long)
    assert len(header) <= MOST_HEADER
    assert dict(read_rejected(header).items() - dict(long).items()) == {}
    assert len(read_rejected(header)) > 10


@pytest.mark.parametrize("header", [None, "", ",,,", "group", "=Reason", "group=Two words", "a=B=C", "a=1"])
def test_what_is_no_pair_is_left_out(header: str | None) -> None:
    """Whoever made it: it is not worth refusing a catalog for."""
    assert read_rejected(header) == {}
