"""What a large installation declares, and how its groups are edited: figures and manifests, nothing else.

Consecutive groups lie in different namespaces, so that edits of one after another spread evenly. Every edit
sets a TTL that no other edit sets: whoever sees it in a catalog knows that the edit has arrived.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.manifests import a_manifest

SHARED_TABLE = "features-online"
FIRST_TTL = 100_000
"""Hard TTL in Redis of a group that nobody has edited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is, and how fast it is edited."""

    groups: int = 2_000
    namespaces: int = 200
    dedicated: int = 20
    """Groups with a table of their own; the others share one."""
    edits_per_second: float = 50.0
    seconds: float = 300.0

    @property
    def edits(self) -> int:
        """How many edits that comes to."""
        return int(self.edits_per_second * self.seconds)


def namespace_of(number: int, size: Size) -> str:
    """Where a group lies."""
    return f"team-{number % size.namespaces:03d}"


def name_of(number: int) -> str:
    """What a group is called, unlike any other in all namespaces."""
    return f"group-{number:04d}"


def manifest(number: int, size: Size) -> dict[str, Any]:
    """Declare a group: ten features, most of its policy from the profile."""
    storage: dict[str, Any] = {"mode": "Shared", "tableName": SHARED_TABLE}
    if number < size.dedicated:
        storage = {"mode": "Dedicated"}
    features = [{"id": n, "name": f"feature_{n}", "type": "Float64"} for n in range(10)]
    return a_manifest(
        {
            "/metadata.name": name_of(number),
            "/metadata.namespace": namespace_of(number, size),
            "groupName": name_of(number).replace("-", "_"),
            "features": features,
            "storage": storage,
            **{f"cache.{path}": value for path, value in edit(0)["cache"].items()},
        }
    )


def edit(number: int) -> dict[str, Any]:
    """Compose the spec of an edit: a TTL of its own."""
    return {"cache": {"remote": {"hardTTLSeconds": FIRST_TTL + number}}}


def edit_of(ttl_seconds: int) -> int:
    """Say which edit a TTL is from; 0 = none."""
    return ttl_seconds - FIRST_TTL
