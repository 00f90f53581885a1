"""What an edit of a FeatureGroup may not change, each rule as CEL and as Python.

A rule about an optional field sits on the field's parent and compares ``has()`` on both sides: a rule on
the field itself is not asked when the field appears or goes, and a width added later would destroy the
order of stored keys.
"""

from __future__ import annotations

from typing import Final

from pannier.cel import TransitionRule
from pannier.errors import Problem
from pannier.spec import FeatureGroup


def transition_problems(old: FeatureGroup, new: FeatureGroup) -> tuple[Problem, ...]:
    """Find everything an edit changes that must stay. Both must be sound on their own."""
    return tuple(problem for rule in TRANSITIONS for problem in rule.problems(old, new))


_REQUIRED: Final = frozenset({"groupName", "mode", "name", "type"})
"""Fields of the rules below that the schema requires: their presence need not be asked for, item by item."""


def _fixed(at: str, field: str, attribute: str, message: str) -> TransitionRule:
    """Make the rule that a field, optional or not, neither changes nor appears nor goes."""
    cel = f"self.{field} == oldSelf.{field}"
    if field not in _REQUIRED:
        cel = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {cel})"
    return TransitionRule(
        at=at,
        reason="Immutable",
        message=message,
        cel=cel,
        holds=lambda new, old: getattr(new, attribute) == getattr(old, attribute),
        field=field,
    )


_IN_EVERY_KEY: Final = (
    "is immutable, since every stored key depends on it; make a new group and copy the rows"
)
_SORT_KEY: Final = (
    ("type", "type", f"sortKey.type {_IN_EVERY_KEY}"),
    ("unit", "unit", f"sortKey.unit {_IN_EVERY_KEY}; adding or removing it counts as a change"),
    ("width", "width", f"sortKey.width {_IN_EVERY_KEY}; adding or removing it counts as a change"),
    (
        "tieBreaker",
        "tie_breaker",
        f"sortKey.tieBreaker {_IN_EVERY_KEY}; adding or removing it counts as a change",
    ),
)
_STORAGE: Final = (
    ("mode", "mode", "storage.mode is immutable; make a new group and copy the rows"),
    ("tableName", "table_name", "storage.tableName is immutable; adding or removing it counts as a change"),
    ("region", "region", "storage.region is immutable; adding or removing it counts as a change"),
)
_ITEM: Final = (
    ("name", "name", "the name of a feature is immutable; append a new feature"),
    (
        "type",
        "type",
        "the type of a feature is immutable, since rows hold values of it; append a new feature",
    ),
    ("elementType", "element_type", "the elementType of a feature is immutable; append a new feature"),
    ("dimensions", "dimensions", "the dimensions of a feature are immutable; append a new feature"),
)

TRANSITIONS: Final[tuple[TransitionRule, ...]] = (
    _fixed("spec", "groupName", "group_name", f"groupName {_IN_EVERY_KEY}"),
    TransitionRule(
        at="spec.key",
        reason="Immutable",
        message=f"sortKey {_IN_EVERY_KEY}; adding or removing it counts as a change",
        cel="has(self.sortKey) == has(oldSelf.sortKey)",
        holds=lambda new, old: (new.sort_key is None) == (old.sort_key is None),
        field="sortKey",
    ),
    TransitionRule(
        at="spec.key",
        reason="OnlyGrows",
        message="maxIdBytes can only grow: rows with longer ids may be stored",
        cel="self.maxIdBytes >= oldSelf.maxIdBytes",
        holds=lambda new, old: new.max_id_bytes >= old.max_id_bytes,
        field="maxIdBytes",
    ),
    *(_fixed("spec.key.sortKey", *field) for field in _SORT_KEY),
    *(_fixed("spec.storage", *field) for field in _STORAGE),
    TransitionRule(
        at="spec.features",
        reason="AppendOnly",
        message="features are append-only; set a feature's state to Removed instead of deleting it",
        cel="size(self) >= size(oldSelf)",
        holds=lambda new, old: len(new) >= len(old),
    ),
    *(_fixed("spec.features[]", *field) for field in _ITEM),
    TransitionRule(
        at="spec.features[]",
        reason="StaysRemoved",
        message="a Removed feature cannot come back, since old values may still be stored; append a new one",
        cel="oldSelf.state != 'Removed' || self.state == 'Removed'",
        holds=lambda new, old: old.state != "Removed" or new.state == "Removed",
        field="state",
    ),
)
"""Every rule of an edit, in the order they are reported."""
