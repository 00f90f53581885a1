"""Who vouches for the catalog endpoint: a file that others renew, read whenever a catalog is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

_log: Final = structlog.stdlib.get_logger(__name__)
_MARK: Final = "-----BEGIN CERTIFICATE-----"
_KEY_MARK: Final = "PRIVATE KEY"


def authority_in(path: str | None) -> Callable[[], str]:
    """Give what reads the file; nothing is published of one that is missing, or that holds a key."""
    return _nobody if path is None else lambda: _read(Path(path))


def _nobody() -> str:
    return ""


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("authority_not_read", file=str(path), fault=str(error))
        return ""
    if _MARK not in text or _KEY_MARK in text:
        _log.warning("authority_refused", file=str(path), fault="it holds no certificate, or a key beside")
        return ""
    return text
