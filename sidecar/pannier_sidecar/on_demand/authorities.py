"""Whom a sidecar trusts to vouch for feature servers: a file that somebody renews, looked at again and again.

Named by a flag, or published by the operator beside the mounted catalog; without either the system's
authorities count. It is looked at with calls, every few seconds at most; what cannot be read changes nothing.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

LOOK_SECONDS: Final = 5.0
_log: Final = structlog.stdlib.get_logger(__name__)


class TrustedAuthorities:
    """Gives the TLS context of the authorities that are trusted now."""

    def __init__(
        self,
        named: Path | None,
        published: Path | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises OSError where what is ``named`` cannot be used; what is ``published`` may come and go."""
        self._named, self._published, self._monotonic = named, published, monotonic
        self._text: bytes | None = None
        self._looked_at = monotonic()
        self._system: ssl.SSLContext | None = None
        self._context = self._read(named) if named is not None else self._systems()
        if named is None:
            self._look()

    def context(self) -> ssl.SSLContext:
        """Whom to trust now; another object where that is somebody else."""
        if self._monotonic() - self._looked_at >= LOOK_SECONDS:
            self._look()
        return self._context

    def _look(self) -> None:
        self._looked_at = self._monotonic()
        file = self._named or self._published
        if file is None:
            return
        try:
            self._context = self._read(file)
        except OSError as error:  # ssl's are among them
            if self._named is None and isinstance(error, FileNotFoundError):  # nobody is named, or no longer
                self._text, self._context = None, self._systems()
                return
            _log.warning("authority_not_taken", file=str(file), fault=str(error))

    def _read(self, file: Path) -> ssl.SSLContext:
        text = file.read_bytes()
        if text == self._text:
            return self._context
        context = _trusting(text)
        self._text = text
        return context

    def _systems(self) -> ssl.SSLContext:
        if self._system is None:
            self._system = ssl.create_default_context()
        return self._system

    def __repr__(self) -> str:
        file = self._named or (self._published if self._text is not None else None)
        return f"<TrustedAuthorities {file or 'of the system'}>"


def _trusting(text: bytes) -> ssl.SSLContext:
    """Trust these and nobody else; raises OSError where there is none."""
    try:
        pem = text.decode("ascii")
    except UnicodeDecodeError as error:
        raise OSError("it is no PEM") from error
    if not pem.strip():  # which ssl would take for "the system's"
        raise OSError("it is empty")
    return ssl.create_default_context(cadata=pem)
