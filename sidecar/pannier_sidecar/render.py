"""Fragments -> the JSON of an answer, and back to fragments by position.

Done once, when L1 takes an entry in.

Names, defaults and Removed of the catalog apply here and nowhere below. While a row is put together the
position of every fragment in it is noted (*spans*), so that a subset of features is cut out of the same bytes
later: a value is held once and never parsed again. Which records are shown is decided in
`pannier_sidecar.packs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from pannier.errors import ValueRefused
from pannier.times import format_rfc3339
from pannier.values import from_opaque
from pannier_sidecar.plan import FeaturePlan, GroupPlan
from pannier_sidecar.row import Fragment, Fragments

DEFAULTED: Final = 1 << 31
"""Set in the start of a span whose fragment is the spec's default and not stored."""
FOUND: Final = b'"found"'
MISSING: Final = b'"missing"'
RECORDS: Final = b',"records":['

Transform = Callable[[FeaturePlan, Fragment], Fragment]
Column = tuple[int, FeaturePlan]
"""A served feature and the offset of its span among those of one record."""

_OPEN = b'"features":{'
_OPAQUE: Final = 0
"""First byte of what `pannier.values.opaque` makes, which begins no JSON."""
_json = msgspec.json.Encoder().encode


class Splice:
    """Bytes of an answer in the making: pieces, their length, and the spans of fragments among them."""

    __slots__ = ("at", "pieces", "spans")

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.at = 0
        self.spans: list[int] = []

    def add(self, piece: bytes) -> None:
        """Go on with this."""
        self.pieces.append(piece)
        self.at += len(piece)

    def add_features(self, features: Sequence[FeaturePlan], values: Fragments) -> None:
        """End an object with ``"features":{...}`` and ``"defaulted":[...]``.

        Two span entries per feature, zeros where it is absent. One loop in one function: it runs for every
        feature of every record that is taken in.
        """
        pieces, spans, get = self.pieces, self.spans, values.get
        at = self.at
        separator = _OPEN
        defaulted: list[bytes] = []
        for feature in features:
            fragment, flag = get(feature.id), 0
            if fragment is None or fragment[0] == _OPAQUE:
                fragment, flag = _stand_in(feature, fragment)
                if fragment is None:
                    spans += (0, 0)
                    continue
                if flag:
                    defaulted.append(feature.json_name[:-1])
            name = feature.json_name
            pieces += (separator, name, fragment)
            start = at + len(separator) + len(name)
            at = start + len(fragment)
            spans += (start | flag, at)
            separator = b","
        tail = _close(defaulted) + b"}"
        if separator is _OPEN:
            tail = _OPEN + tail
        pieces.append(tail)
        self.at = at + len(tail)

    def add_record(self, plan: GroupPlan, sort_key: str, values: Fragments) -> None:
        """Go on with a record of a timeline.

        Span entries: where it begins and ends, then those of its features.
        """
        slot = len(self.spans)
        self.spans += (self.at, 0)
        self.add(record_head(plan, sort_key))
        self.add_features(plan.served, values)
        self.spans[slot + 1] = self.at

    def add_copy(self, buffer: bytes, spans: Sequence[int], last: int) -> None:
        """Go on with neighbouring records of other bytes as they stand there, with the commas between them.

        ``spans``: theirs and their features' there; ``last``: where that of the last record begins.
        """
        start, end = spans[0], spans[last + 1]
        moved, first = self.at - start, len(self.spans)
        self.spans += [bound + moved if bound else 0 for bound in spans]  # zeros: an absent feature
        self.spans[first] = self.at  # or the first record of all
        self.add(buffer[start:end])

    def done(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)

    def __repr__(self) -> str:
        return f"<Splice {self.at} bytes, {len(self.spans)} span ends>"


def cut_features(
    columns: Iterable[Column],
    buffer: bytes,
    spans: Sequence[int],
    base: int,
    transform: Transform | None = None,
) -> bytes:
    """Cut ``"features":{...}`` of these columns out of a record whose feature spans begin at ``base``."""
    pieces: list[bytes] = []
    defaulted: list[bytes] = []
    for offset, feature in columns:
        start, end = spans[base + offset], spans[base + offset + 1]
        if not end:
            continue
        if start & DEFAULTED:
            start ^= DEFAULTED
            defaulted.append(feature.json_name[:-1])
        fragment = buffer[start:end]
        pieces.append(feature.json_name + (fragment if transform is None else transform(feature, fragment)))
    return _OPEN + b",".join(pieces) + _close(defaulted)


def stored_values(
    features: Sequence[FeaturePlan], buffer: bytes, spans: Sequence[int], base: int
) -> Fragments:
    """Fragments of a rendered record by id, defaults left out."""
    values: Fragments = {}
    for feature in features:
        start, end = spans[base], spans[base + 1]
        base += 2
        if end and start < DEFAULTED:
            values[feature.id] = buffer[start:end]
    return values


def columns_of(features: Sequence[FeaturePlan]) -> list[Column]:
    """Columns of records that were rendered with these features."""
    return [(2 * position, feature) for position, feature in enumerate(features)]


def row_head(row_id: str, status: bytes) -> bytes:
    """``{"id":"1","status":"found"``, to be gone on with a comma or closed."""
    return b'{"id":' + _json(row_id) + b',"status":' + status


def found_row(row_id: str, records: list[bytes], *, more: bool) -> bytes:
    """Put rendered records, newest first, together as one row."""
    tail = b'],"more":true}' if more else b"]}"
    return row_head(row_id, FOUND) + RECORDS + b",".join(records) + tail


def record_head(plan: GroupPlan, sort_key: str) -> bytes:
    """``{"timestamp":987654321,``, without the zeros that make stored digits sortable."""
    return b'{"timestamp":%d,' % int(sort_key[: plan.width])


def missing_row(plan: GroupPlan, row_id: str) -> bytes:
    """L3 said that there is no such row; missing rows get no defaults."""
    return row_head(row_id, MISSING) + (b',"records":[]}' if plan.is_timeline else b"}")


def unknown_row(row_id: str, reason: str, message: str) -> bytes:
    """No tier answered in time: neither found nor missing."""
    return (
        row_head(row_id, b'"unknown"')
        + b',"reason":'
        + _json(reason)
        + b',"message":'
        + _json(message)
        + b"}"
    )


def with_notes(  # noqa: PLR0913 (all notes are keywords)
    row: bytes,
    *,
    stale: bool = False,
    outdated: bool = False,
    source: str | None = None,
    age_us: int | None = None,
    event_time_us: int | None = None,
) -> bytes:
    """Append what is said of this row in this answer only."""
    notes = [row[:-1]]
    if stale:
        notes.append(b'"stale":true')
    if outdated:
        notes.append(b'"outdated":true')
    if source is not None:
        notes.append(b'"source":"%b"' % source.encode())
    if age_us is not None:
        notes.append(b'"age_seconds":%.3f' % (max(age_us, 0) / 1_000_000))
    if event_time_us:
        notes.append(b'"event_time":"%b"' % format_rfc3339(event_time_us).encode())
    return b",".join(notes) + b"}"


def int64_as_string(feature: FeaturePlan, fragment: Fragment) -> Fragment:
    """Quote 64-bit integers, at any depth, for clients whose numbers are doubles."""
    declared = feature.feature
    if declared.type == "Int64":
        return fragment if fragment == b"null" else b'"' + fragment + b'"'
    if declared.element_type != "Int64":
        return fragment
    value: Any = msgspec.json.decode(fragment)
    if isinstance(value, list):
        return _json([None if number is None else str(number) for number in value])
    if isinstance(value, dict):
        return _json({key: None if number is None else str(number) for key, number in value.items()})
    return fragment


def _close(defaulted: list[bytes]) -> bytes:
    return b'},"defaulted":[' + b",".join(defaulted) + b"]" if defaulted else b"}"


def _stand_in(feature: FeaturePlan, fragment: Fragment | None) -> tuple[Fragment | None, int]:
    """What is shown where the plain fragment is not there: one of a type that was unknown, or the default.

    A fragment taken in by a sidecar that did not know the feature is read now; unreadable counts as absent.
    """
    if fragment is not None:
        try:
            return feature.codec.from_attribute(from_opaque(fragment)), 0
        except ValueRefused:
            pass
    return feature.default, DEFAULTED
