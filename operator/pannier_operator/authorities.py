"""Whom others are to trust: files of certificates that somebody renews, read whenever they are wanted.

They get into the catalog of every namespace, so they are read with suspicion: certificates and nothing else,
of bounded size, and written anew from what was understood.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pannier.catalog_feed import AUTHORITY_FILE, ON_DEMAND_AUTHORITY_FILE

_log: Final = structlog.stdlib.get_logger(__name__)
MAX_BYTES: Final = 64 * 1024
"""Of a file. A ConfigMap takes 1 MiB, of which a catalog's shard leaves 124 KiB."""
_LABEL: Final = re.compile(r"-----BEGIN ([^-\n]*)-----")
Authority = Callable[[], str | None]
"""PEM of certificates; empty = nobody is named, None = it cannot be said now."""
Beside = Callable[[], Mapping[str, str | None]]
"""Such files by name."""


def authority_in(path: str | None) -> Authority:
    """Give what reads a file; no file = nobody is named."""
    return _nobody if path is None else lambda: _read(Path(path))


def beside_catalogs(catalog_feed: str | None, on_demand: str | None) -> Beside:
    """Give what reads the files that are published beside catalogs, by their names there."""
    readers = {AUTHORITY_FILE: authority_in(catalog_feed), ON_DEMAND_AUTHORITY_FILE: authority_in(on_demand)}
    return lambda: {name: read() for name, read in readers.items()}


def certificates_of(text: bytes) -> str:
    """Write certificates anew as PEM; raises ValueError where there is anything else, or none."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES} bytes")
    others = set(_LABEL.findall(text.decode("ascii", "replace"))) - {"CERTIFICATE"}
    if others:
        raise ValueError(f"it holds more than certificates: {', '.join(sorted(others))}")
    found = x509.load_pem_x509_certificates(text)
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in found)


def _nobody() -> str:
    return ""


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        _log.warning("authority_not_read", file=str(path), fault=str(error))
        return None
    try:
        return certificates_of(text)
    except ValueError as error:
        _log.warning("authority_refused", file=str(path), fault=str(error))
        return None
