"""What an entry shows of its id, whatever tier holds it: the records of the default question, their values.

Entries of two tiers are compared by what they show, not by their bytes or deadlines. Pure: ``now`` is an
argument. Which of two states is newer is decided by the merge rules (`pannier_sidecar.entry`), not here.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pannier.keys import HIGHEST_SORT_KEY, RECORD_SORT_KEY
from pannier_sidecar.entry import timeline as timelines
from pannier_sidecar.entry.record import Record
from pannier_sidecar.entry.timeline import Timeline
from pannier_sidecar.plan import GroupPlan
from pannier_sidecar.read_shape import lookback_floor
from pannier_sidecar.recent_writes import State, is_marker, merged
from pannier_sidecar.row import Fragments


class Shown(msgspec.Struct, frozen=True, gc=False):
    """One record that is shown."""

    sort_key: str
    revision: int
    event_time_us: int
    values: Fragments
    """Of the features that the catalog serves."""


class View(msgspec.Struct, frozen=True, gc=False):
    """The records shown, newest first; none where there is nothing to show."""

    records: tuple[Shown, ...]

    def shows_same(self, other: View) -> bool:
        """Whether a client would see the same records and values."""
        return _values(self) == _values(other)

    def is_same(self, other: View) -> bool:
        """Whether it is the same state of the same records, revisions included."""
        return self.shows_same(other) and _revisions(self) == _revisions(other)

    def news_over(self, older: View) -> Iterable[Shown]:
        """Records that ``older`` lacks or shows otherwise."""
        known = {record.sort_key: record.values for record in older.records}
        return (record for record in self.records if known.get(record.sort_key) != record.values)


NOTHING = View(())


def view(plan: GroupPlan, state: State, now_us: int) -> View | None:
    """What an entry shows at ``now_us``; None where it does not know and a read would load."""
    if isinstance(state, Timeline):
        return _of_timeline(plan, state, now_us)
    if is_marker(state):
        return None
    return View((_shown(plan, RECORD_SORT_KEY, state),)) if state.is_live(now_us) else NOTHING


def knows_all_of(plan: GroupPlan, held: State, other: State, now_us: int) -> bool:
    """Whether learning of ``other`` would change nothing of what ``held`` shows."""
    united = merged(plan, held, other)
    before = view(plan, held, now_us)
    after = None if united is None else view(plan, united, now_us)
    return before is not None and after is not None and before.shows_same(after)


def _of_timeline(plan: GroupPlan, timeline: Timeline, now_us: int) -> View | None:
    answer = timelines.answer(
        timeline,
        limit=plan.query.default_limit,
        low=lookback_floor(plan, now_us),
        high=HIGHEST_SORT_KEY,
        now_us=now_us,
    )
    if answer is None:
        return None
    return View(tuple(_shown(plan, key, timeline.registers[key]) for key in answer.sort_keys))


def _shown(plan: GroupPlan, sort_key: str, record: Record) -> Shown:
    """Only served features: an entry that L1 gives back has no others, and nobody sees them."""
    served = {f.id: record.values[f.id] for f in plan.served if f.id in record.values}
    return Shown(sort_key, record.revision, record.event_time_us, served)


def _values(shown: View) -> list[tuple[str, Fragments]]:
    return [(record.sort_key, record.values) for record in shown.records]


def _revisions(shown: View) -> list[int]:
    return [record.revision for record in shown.records]
