"""Whether an IAM policy allows a call: as much of IAM's evaluation as the policies in deploy/iam use.

Everything is denied that no statement allows. Condition operators and keys that are not known here fail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "deploy" / "iam"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as IAM sees it."""

    action: str
    table: str
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Condition key -> its values; absent = the call has none."""


class Policy:
    """One of the files, with its words in capitals replaced."""

    def __init__(self, name: str, **words: str) -> None:
        text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        self._statements = json.loads(text)["Statement"]

    def allows(self, call: Call) -> bool:
        """Whether any statement allows the call."""
        return any(_applies(statement, call) for statement in self._statements)


def _applies(statement: Mapping[str, Any], call: Call) -> bool:
    actions, resource = statement["Action"], statement["Resource"]
    arn = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{call.table}"
    return (
        f"dynamodb:{call.action}" in ([actions] if isinstance(actions, str) else actions)
        and fnmatchcase(arn, resource)
        and all(_holds(operator, keys, call) for operator, keys in statement.get("Condition", {}).items())
    )


def _holds(operator: str, keys: Mapping[str, str | list[str]], call: Call) -> bool:
    for key, wanted in keys.items():
        found = call.context.get(key, ())
        patterns = [wanted] if isinstance(wanted, str) else wanted
        match operator:
            case "StringEquals":
                holds = len(found) == 1 and found[0] in patterns
            case "ForAllValues:StringLike":
                holds = all(any(fnmatchcase(value, pattern) for pattern in patterns) for value in found)
            case _:
                raise AssertionError(operator)
        if not holds:
            return False
    return True
