"""Leases as Redis commands and replies. It speaks to nobody and decides nothing.

One call of a small script for all keys of a batch, or one per key where a cluster has them in many slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from importlib import resources
from itertools import chain
from typing import Final

from pannier.keys import lease_key
from pannier_sidecar.lease import Lease
from pannier_sidecar.tiers.redis_pipe import Command

_FOLDER = resources.files("pannier_sidecar.tiers")
LEASE_SCRIPT: Final = _FOLDER.joinpath("l2_lease.lua").read_bytes()
RELEASE_SCRIPT: Final = _FOLDER.joinpath("l2_release.lua").read_bytes()
_LEASE_SHA = hashlib.sha1(LEASE_SCRIPT, usedforsecurity=False).hexdigest()
_RELEASE_SHA = hashlib.sha1(RELEASE_SCRIPT, usedforsecurity=False).hexdigest()
SCRIPTS: Final = {_LEASE_SHA: LEASE_SCRIPT, _RELEASE_SHA: RELEASE_SCRIPT}


def claims(leases: Sequence[Lease], *, together: bool) -> list[Command]:
    """The commands that ask for leases; ``together`` where one command may name many keys."""
    return [
        _call(_LEASE_SHA, part, chain.from_iterable((lease.token, lease.kept_ms) for lease in part))
        for part in _parts(leases, together=together)
    ]


def releases(leases: Sequence[Lease], *, together: bool) -> list[Command]:
    """The commands that let go of leases."""
    return [
        _call(_RELEASE_SHA, part, (lease.token for lease in part))
        for part in _parts(leases, together=together)
    ]


def flags(replies: Iterable[object], count: int) -> list[bool | None]:
    """The answer for each lease, in order; None where Redis gave none that makes sense."""
    said = [flag for reply in replies for flag in (reply if isinstance(reply, list) else [None])]
    if len(said) != count:
        return [None] * count
    return [bool(flag) if flag in (0, 1) else None for flag in said]


def _call(sha: str, leases: Sequence[Lease], arguments: Iterable[str | int]) -> Command:
    keys = (lease_key(lease.key.plan.cache_prefix, lease.key.id) for lease in leases)
    return ("EVALSHA", sha, len(leases), *keys, *arguments)


def _parts(leases: Sequence[Lease], *, together: bool) -> list[Sequence[Lease]]:
    if together:
        return [leases] if leases else []
    return [[lease] for lease in leases]
