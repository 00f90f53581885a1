"""All rules between fields of one FeatureGroup. Bounds of single fields are in the models.

CEL compares only what is set: under ``cache`` and ``query`` nothing has a schema default, so every look
there is guarded with ``has()``, and what profiles fill in is kept sound by `pannier.profiles`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pannier.cel import Rule
from pannier.errors import Problem
from pannier.rules_cache import CACHE_RULES
from pannier.rules_inputs import INPUT_RULES
from pannier.rules_schema import FEATURE_RULES, KEY_RULES
from pannier.rules_storage import STORAGE_RULES
from pannier.spec import FeatureGroup

RULES: Final[tuple[Rule, ...]] = (*KEY_RULES, *FEATURE_RULES, *CACHE_RULES, *STORAGE_RULES, *INPUT_RULES)
"""Every rule of one object, in the order they are reported."""


def broken_rules(group: FeatureGroup) -> Iterator[Problem]:
    """Find every rule that the group breaks."""
    for rule in RULES:
        yield from rule.problems(group)
