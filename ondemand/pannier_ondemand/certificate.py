"""The server's certificate: two files that somebody renews under it, loaded anew when they change.

They are looked at as connections come, at most every few seconds. A pair that cannot be loaded leaves the
last good one in force; connections that are open keep what they have.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 5.0
_log: Final = logging.getLogger("pannier_ondemand")


class ServingCertificate:
    """A certificate chain with its key, as PEM files; raises OSError where they cannot be loaded."""

    def __init__(self, chain: Path, key: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._chain, self._key, self._monotonic = chain, key, monotonic
        self._pair = self._read()
        self._newest = self._load()
        self._looked_at = monotonic()
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        """Hands each new connection to the newest good pair."""
        self.context.sni_callback = self._choose

    def _read(self) -> tuple[bytes, bytes]:
        return self._chain.read_bytes(), self._key.read_bytes()

    def _load(self) -> ssl.SSLContext:
        # a context of its own for each pair: half a pair must not get into the one that serves
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._chain, self._key)
        return context

    def _refresh(self) -> None:
        self._looked_at = self._monotonic()
        try:
            pair = self._read()
            if pair == self._pair:
                return
            self._newest = self._load()
        except OSError as error:
            _log.warning("the renewed certificate %s cannot be used: %s", self._chain, error)
            return
        self._pair = pair
        _log.info("took up the renewed certificate %s", self._chain)

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, *_: object) -> None:
        """Called by ssl after a client's hello, whether it names a server or not."""
        if self._monotonic() - self._looked_at >= LOOK_SECONDS:
            self._refresh()
        connection.context = self._newest

    def __repr__(self) -> str:
        return f"<ServingCertificate {self._chain}>"
