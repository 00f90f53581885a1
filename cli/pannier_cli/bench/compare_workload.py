"""What `compare` asks for: three record groups of eight features, a thousand ids, fixed by a seed.

The same rows go to this sidecar and to Feast; the same request bodies go to whoever is measured. Pure.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

GROUPS: Final = ("user_activity", "user_profile", "user_spending")
FEATURES: Final = {
    "score": "Float64",
    "ratio": "Float64",
    "amount": "Float64",
    "visits": "Int64",
    "last_seen": "Int64",
    "city": "String",
    "segment": "String",
    "member": "Bool",
}
IDS: Final = 1_000
BODIES: Final = 256
"""Different requests per scenario, sent in turn."""
_SEED: Final = 20130101
_CITIES: Final = ("Seoul", "Busan", "Jeju", "Incheon", "Daegu", "Suwon")

Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One shape of request."""

    name: str
    title: str
    groups: tuple[str, ...]
    ids_per_group: int

    @property
    def rows(self) -> int:
        """Rows in one answer."""
        return len(self.groups) * self.ids_per_group


SCENARIOS: Final = (
    Scenario("one_row", "1 row", GROUPS[:1], 1),
    Scenario("many_rows", "50 ids x 3 groups", GROUPS, 50),
)


def manifest(group: str) -> dict[str, Any]:
    """Declare a group the way a user would; the cache policy is what the Hot profile comes to."""
    return {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": group.replace("_", "-")},
        "spec": {
            "groupName": group,
            "key": {"entity": "user"},
            "features": [
                {"id": number, "name": name, "type": kind}
                for number, (name, kind) in enumerate(FEATURES.items())
            ],
            "storage": {"mode": "Dedicated"},
            "cache": {"profile": "Hot"},
        },
    }


def row_id(number: int) -> str:
    """Name an id the way applications do."""
    return f"user-{number:06d}"


def rows_of(group: str) -> Rows:
    """Make the rows of a group, the same in every run."""
    dice = random.Random(f"{_SEED}/{group}")
    return {row_id(number): _features(dice) for number in range(IDS)}


def feast_groups() -> list[dict[str, Any]]:
    """Describe groups and rows for `feast_rows`."""
    return [{"name": group, "features": FEATURES, "rows": rows_of(group)} for group in GROUPS]


def pick_ids(scenario: Scenario) -> list[list[str]]:
    """Draw the ids of each request body."""
    dice = random.Random(f"{_SEED}/{scenario.name}")
    return [
        [row_id(number) for number in dice.sample(range(IDS), scenario.ids_per_group)] for _ in range(BODIES)
    ]


def pannier_body(scenario: Scenario, ids: list[str]) -> dict[str, Any]:
    """Ask this sidecar for all features."""
    return {"reads": [{"group": group, "ids": ids} for group in scenario.groups]}


def feast_body(scenario: Scenario, ids: list[str]) -> dict[str, Any]:
    """Ask Feast for the same features."""
    names = [f"{group}:{name}" for group in scenario.groups for name in FEATURES]
    return {"features": names, "entities": {"user_id": ids}, "full_feature_names": True}


def pannier_answer_rows(answer: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(group, id) -> features out of this sidecar's answer; rows that were not found are left out."""
    return {
        (result["group"], row["id"]): row["features"]
        for result in answer["results"]
        for row in result.get("rows", ())
        if row["status"] == "found"
    }


def feast_answer_rows(answer: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(group, id) -> features out of Feast's columns."""
    columns = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    ids = columns.pop("user_id")["values"]
    for full_name, column in columns.items():
        group, name = full_name.split("__", 1)
        for one_id, value, status in zip(ids, column["values"], column["statuses"], strict=True):
            if status == "PRESENT":
                rows.setdefault((group, one_id), {})[name] = value
    return rows


def _features(dice: random.Random) -> dict[str, Any]:
    return {
        "score": round(dice.random(), 6),
        "ratio": round(dice.gauss(1.0, 0.2), 6),
        "amount": round(dice.expovariate(0.01), 2),
        "visits": dice.randrange(10_000),
        "last_seen": 1_700_000_000 + dice.randrange(10_000_000),
        "city": dice.choice(_CITIES),
        "segment": f"segment-{dice.randrange(40)}",
        "member": dice.random() < 0.5,  # noqa: PLR2004 (a fair coin)
    }
