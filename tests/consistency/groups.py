"""The groups of a run: records and timelines under every kind of policy, with deadlines that a run reaches.

`MANIFESTS` is what the sidecars serve; `PROMISES` is what their policies promise, in the words of the laws.
"""

from __future__ import annotations

from typing import Any, Final

from tests.consistency.operations import ROW, ROW_THERE, Promise

NAMESPACE: Final = "storm"
FEATURES: Final = ("a", "b", "c")
MAX_LIMIT: Final = 8
L3_TIMEOUT_MS: Final = 600
_SECOND_US: Final = 1_000_000
_LOAD_US: Final = 2 * _SECOND_US
"""What the bound of an entry that counts from when L1 took it leaves out: the load before that, on a machine
that is busy."""

_LOCAL: Final = {"state": "Enabled", "softTTLSeconds": 1, "hardTTLSeconds": 2, "negativeTTLSeconds": 1}
_REMOTE: Final = {"state": "Enabled", "softTTLSeconds": 2, "hardTTLSeconds": 4, "negativeTTLSeconds": 2}
_OFF: Final = {"state": "Disabled"}
_LONG: Final = {**_REMOTE, "softTTLSeconds": 6, "hardTTLSeconds": 10}


def _cache(
    local: dict[str, Any] = _LOCAL,
    remote: dict[str, Any] = _REMOTE,
    write_policy: str = "WriteThrough",
    **more: Any,
) -> dict[str, Any]:
    return {"local": local, "remote": remote, "writePolicy": write_policy, "staleIfErrorSeconds": 0, **more}


_CACHES: Final[dict[str, dict[str, Any]]] = {
    "through": _cache(),
    "marked": _cache(write_policy="Invalidate"),
    "stale": _cache(write_policy="Invalidate", staleIfErrorSeconds=3),
    "shared": _cache(local=_OFF, remote=_LONG, write_policy="Invalidate"),
    "sharedthrough": _cache(local=_OFF, remote=_LONG),
    "local": _cache(remote=_OFF),
    "bare": _cache(local=_OFF, remote=_OFF),
    "strong": _cache(readConsistency="Strong"),
    "strongstale": _cache(readConsistency="Strong", staleIfErrorSeconds=3),
}
_TIMELINES: Final = ("through", "marked", "shared", "local", "strong", "stale")


def _manifest(group: str, cache: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": group.replace("_", "-"), "namespace": NAMESPACE},
        "spec": {
            "groupName": group,
            "features": [{"id": i, "name": name, "type": "String"} for i, name in enumerate(FEATURES)],
            "cache": cache,
            "storage": {"mode": "Dedicated"},
            **spec,
        },
    }


def _promise(cache: dict[str, Any], unit_us: int) -> Promise:
    is_remote = cache["remote"]["state"] == "Enabled"
    local_seconds = cache["local"]["hardTTLSeconds"] if cache["local"]["state"] == "Enabled" else 0
    bound_us = (
        cache["remote"]["hardTTLSeconds"] * _SECOND_US if is_remote else local_seconds * _SECOND_US + _LOAD_US
    )
    return Promise(
        bound_us=bound_us,
        stale_us=cache["staleIfErrorSeconds"] * _SECOND_US,
        strong=cache.get("readConsistency") == "Strong",
        unit_us=unit_us,
    )


MANIFESTS: Final[dict[str, dict[str, Any]]] = {
    f"rows_{name}": _manifest(f"rows_{name}", cache, key={"entity": "user"})
    for name, cache in _CACHES.items()
} | {
    f"line_{name}": _manifest(
        f"line_{name}",
        _CACHES[name],
        key={"entity": "user", "sortKey": {"type": "Timestamp", "unit": "Milliseconds"}},
        query={"defaultLimit": MAX_LIMIT, "maxLimit": MAX_LIMIT},
    )
    for name in _TIMELINES
}
PROMISES: Final[dict[str, Promise]] = {
    group: _promise(manifest["spec"]["cache"], 1_000 if "sortKey" in manifest["spec"]["key"] else 0)
    for group, manifest in MANIFESTS.items()
}
LONGEST_BOUND_US: Final = max(promise.bound_us for promise in PROMISES.values())


def is_timeline(group: str) -> bool:
    """Whether the group holds timelines."""
    return PROMISES[group].unit_us > 0


def whole_row(features: dict[str, str]) -> dict[str, str | None]:
    """The registers of a full write: all features, and that there is a row."""
    return {**dict.fromkeys(FEATURES), **features, ROW: ROW_THERE}
