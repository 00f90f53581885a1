"""The webhook's certificate: two files that somebody renews under us, loaded anew when they change.

A pair that cannot be loaded (half written, or the key of another certificate) leaves the last good one in
force; the next look tries again. Connections that are open keep what they have.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509

_log: Final = structlog.stdlib.get_logger(__name__)
Counted = Callable[[str], None]
"""Told what came of each change: loaded, or refused."""


class ServingCertificate:
    """A certificate chain with its key, as PEM files."""

    def __init__(self, chain: Path, key: Path, count: Counted = lambda _result: None) -> None:
        self._chain = chain
        self._key = key
        self._count = count
        self._tried = ""
        self._newest: ssl.SSLContext | None = None
        self.expires_at = 0.0
        """When the pair in use ends, in seconds since the epoch; 0 before there is one."""
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        """Hands each new connection to the newest good pair; there is none before `refresh` says so."""
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Look at the files, load what is new; says whether there is a certificate to serve with."""
        fingerprint = self._fingerprint()
        if fingerprint and fingerprint != self._tried:
            self._tried = fingerprint
            self._load()
        return self._newest is not None

    def _fingerprint(self) -> str:
        try:
            pair = self._chain.read_bytes() + b"\0" + self._key.read_bytes()
        except OSError as error:
            _log.debug("certificate_not_there", fault=str(error))
            return ""
        return hashlib.sha256(pair).hexdigest()

    def _load(self) -> None:
        # a context of its own for each pair: half a pair must not get into the one that serves
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self._chain, self._key)
        except (OSError, ssl.SSLError) as error:
            self._count("refused")
            _log.warning("certificate_refused", file=str(self._chain), fault=str(error))
            return
        self._newest = context
        self.expires_at = _end_of(self._chain)
        self._count("loaded")
        _log.info("certificate_loaded", file=str(self._chain))

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, *_: object) -> None:
        """Called by ssl after a client's hello, whether it names a server or not."""
        if self._newest is not None:
            connection.context = self._newest

    def __repr__(self) -> str:
        return f"<ServingCertificate {self._chain} {'loaded' if self._newest else 'not loaded'}>"


def _end_of(chain: Path) -> float:
    return x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc.timestamp()
