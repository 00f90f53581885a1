"""How a sidecar asks the operator for news of its catalog: the names and forms that both sides use.

One ``GET`` that waits: ``If-None-Match`` says which revision the sidecar has heard of, ``Prefer: wait=30``
how long it would wait for another (RFC 7240), and the headers below what it serves, which is how the operator
knows. A 200 brings the files that a ConfigMap would; a 304 says that nothing is new. Who asks, and so for
which namespace, is proved by a service account's token for `AUDIENCE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

PATH: Final = "/v1/catalog"
AUDIENCE: Final = "pannier.dev"
AUTHORITY_FILE: Final = "operator-ca.crt"
"""Beside the catalog's files: who vouches for the operator's certificate, as PEM."""
ON_DEMAND_AUTHORITY_FILE: Final = "on-demand-ca.crt"
"""Beside them as well: who vouches for feature servers, as PEM."""
BESIDE: Final = (AUTHORITY_FILE, ON_DEMAND_AUTHORITY_FILE)
"""Files of a catalog's volume that are no part of the catalog; a sidecar that does not know one leaves it."""
SERVES: Final = "Pannier-Serves"
"""Header: the revision that is served; 0 = none."""
REJECTS: Final = "Pannier-Rejects"
"""Header: groups that stay at an older version or are not served at all, ``group=Reason, …``."""
MOST_WAIT_SECONDS: Final = 60
MOST_REJECTED: Final = 50
MOST_HEADER: Final = 4_000
"""How many groups that header names, in how many characters: servers take 8 KiB for a header."""
_ETAG: Final = re.compile(r'^"([0-9]{1,18})"$')
_WAIT: Final = re.compile(r"(?:^|,)\s*wait=([0-9]{1,6})\s*(?:,|;|$)", re.IGNORECASE)
_REJECTED: Final = re.compile(r"^\s*([^=,\s]{1,128})=([A-Za-z]{1,64})\s*$")


class CatalogNews(msgspec.Struct, frozen=True):
    """The body of a 200: a catalog as files of a mounted volume."""

    files: Mapping[str, str]


def etag(revision: int) -> str:
    """Write a revision as an entity tag."""
    return f'"{revision}"'


def revision_of(tag: str | None) -> int | None:
    """Read an entity tag of ours; None where it is none."""
    found = _ETAG.match(tag or "")
    return int(found[1]) if found else None


def prefer_wait(seconds: int) -> str:
    """Say how long one would wait."""
    return f"wait={seconds}"


def wait_of(prefer: str | None) -> int:
    """Read how long somebody would wait, in seconds, bounded; 0 where nothing is said of it."""
    found = _WAIT.search(prefer or "")
    return min(int(found[1]), MOST_WAIT_SECONDS) if found else 0


def write_rejected(rejected: Iterable[tuple[str, str]]) -> str:
    """Write pairs of groupName and reason, as many as fit."""
    pairs = (f"{group}={reason}" for group, reason in sorted(set(rejected))[:MOST_REJECTED])
    header = ""
    for pair in pairs:
        longer = f"{header}, {pair}" if header else pair
        if len(longer) > MOST_HEADER:
            break
        header = longer
    return header


def read_rejected(header: str | None) -> dict[str, str]:
    """Read them back; what is no such pair is left out."""
    parts = (header or "").split(",")[:MOST_REJECTED]
    return {found[1]: found[2] for part in parts if (found := _REJECTED.match(part))}
