"""Keeps the webhooks' certificate: looks every minute, takes the steps that are due, tells API servers.

Only the leader does. Replicas of webhooks read the Secret as mounted files; it goes nowhere else.
The authority's key lies in a Secret of its own, which no pod mounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import structlog

from pannier_operator.certificates import pairs
from pannier_operator.certificates.pairs import Pair
from pannier_operator.certificates.rotation import LIVES, Keyring, Lives, Maker, advance
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.tls_objects import Data, StoredSecret, TlsObjects
from pannier_operator.setting_values import Hook

LOOK_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
AUTHORITY_SUFFIX: Final = "-authority"
_MOST_STEPS: Final = 4
"""From nothing, or after a long absence, several steps are due at once."""
_log: Final = structlog.stdlib.get_logger(__name__)


class Kept(NamedTuple):
    """What is kept, and for whom."""

    secret: str
    """Name of the Secret that webhooks mount; the authority's bears a suffix."""
    names: tuple[str, ...]
    hooks: tuple[Hook, ...]


class CertificateKeeper:
    """The leader's part; it owns nothing, and ends when its task is cancelled."""

    def __init__(  # noqa: PLR0913 (what it keeps, and the means)
        self,
        objects: TlsObjects,
        kept: Kept,
        clock: Clock,
        *,
        make: Maker = pairs,
        lives: Lives = LIVES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._objects = objects
        self._kept = kept
        self._clock = clock
        self._make = make
        self._lives = lives
        self._sleep = sleep

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except KubeFault as fault:
                _log.warning("certificates", fault=str(fault))
                await self._sleep(RETRY_SECONDS)
            else:
                await self._sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take every step that is due; raises `KubeFault`."""
        for _ in range(_MOST_STEPS):
            serving = await self._objects.read(self._kept.secret)
            authority = await self._objects.read(self._kept.secret + AUTHORITY_SUFFIX)
            before = _keyring(serving.data, authority.data)
            is_published = bool(before.bundle) and await self._published(before.bundle)
            after = advance(
                before,
                self._kept.names,
                self._clock.now(),
                self._make,
                is_published=is_published,
                lives=self._lives,
            )
            if after == before:
                return
            await self._write(after, serving, authority)
            _log.info("certificates_renewed", **_steps(before, after))

    async def _published(self, bundle: str) -> bool:
        """Tell whoever does not trust the bundle yet; whether all did already."""
        told = [await self._objects.publish(hook, bundle) for hook in self._kept.hooks]
        return not any(told)

    async def _write(self, keyring: Keyring, serving: StoredSecret, authority: StoredSecret) -> None:
        """The authority first: a server's pair without it would be made anew, one step further on."""
        await self._objects.write(self._kept.secret + AUTHORITY_SUFFIX, _authority_data(keyring), authority)
        await self._objects.write(self._kept.secret, _serving_data(keyring), serving)

    def __repr__(self) -> str:
        return f"<CertificateKeeper of {self._kept.secret} for {', '.join(map(str, self._kept.hooks))}>"


def _keyring(serving: Data, authority: Data) -> Keyring:
    return Keyring(
        signing=_pair(authority, "signing.crt", "signing.key"),
        coming=_pair(authority, "coming.crt", "coming.key"),
        going=authority.get("going.crt", ""),
        server=_pair(serving, "tls.crt", "tls.key"),
    )


def _pair(data: Data, certificate: str, key: str) -> Pair | None:
    found = data.get(certificate), data.get(key)
    return Pair(found[0], found[1]) if found[0] and found[1] else None


def _authority_data(keyring: Keyring) -> dict[str, str]:
    data: dict[str, str] = {"going.crt": keyring.going} if keyring.going else {}
    for name, pair in (("signing", keyring.signing), ("coming", keyring.coming)):
        if pair is not None:
            data |= {f"{name}.crt": pair.certificate, f"{name}.key": pair.key}
    return data


def _serving_data(keyring: Keyring) -> dict[str, str]:
    data = {"ca.crt": keyring.bundle}
    if keyring.server is not None:
        data |= {"tls.crt": keyring.server.certificate, "tls.key": keyring.server.key}
    return data


def _steps(before: Keyring, after: Keyring) -> dict[str, bool]:
    """What is new, for the log."""
    return {name: True for name in _PARTS if getattr(before, name) != getattr(after, name)}


_PARTS: Final[Sequence[str]] = ("signing", "coming", "going", "server")
