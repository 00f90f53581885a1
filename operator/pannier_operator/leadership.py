"""Who may write: a Lease, held by one replica; whoever cannot renew stops writing at once.

As client-go does it: another's Lease counts as alive until it has not changed for its duration by *our*
monotonic clock, so that no two machines' clocks are ever compared. `may_write` stands before every mutating
call; a process that was stopped and continues fails there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog

from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault, LeadershipLost
from pannier_operator.kube.leases import Lease, Leases

_log: Final = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a leader that does not renew is waited for, how long it still writes, how often it renews."""

    lease_seconds: int = 15
    renew_seconds: int = 10
    retry_seconds: int = 2


class Leadership:
    """This replica's part in the election."""

    def __init__(self, leases: Leases, identity: str, terms: Terms, clock: Clock) -> None:
        self._leases = leases
        self._identity = identity
        self._terms = terms
        self._clock = clock
        self._seen: Lease | None = None
        self._seen_at = clock.monotonic()
        self._renewed_at: float | None = None
        self._tried_at = clock.monotonic()

    @property
    def is_leader(self) -> bool:
        """Whether this replica may write now."""
        renewed = self._renewed_at
        return renewed is not None and self._clock.monotonic() - renewed < self._terms.renew_seconds

    @property
    def silent_seconds(self) -> float:
        """How long ago the election was last taken part in."""
        return self._clock.monotonic() - self._tried_at

    def may_write(self) -> None:
        """Let a mutating call pass; raises `LeadershipLost` where this replica is not surely the leader."""
        if not self.is_leader:
            raise LeadershipLost(f"{self._identity} does not hold the Lease")

    async def acquire(self) -> None:
        """Return once this replica is the leader."""
        while not await self.attempt():  # noqa: ASYNC110 - only the API server knows
            await asyncio.sleep(self._terms.retry_seconds)
        _log.info("leading", identity=self._identity)

    async def hold(self) -> None:
        """Renew until that fails for too long; raises `LeadershipLost`."""
        while self.is_leader:
            await asyncio.sleep(self._terms.retry_seconds)
            if self.is_leader:
                await self.attempt()
        raise LeadershipLost(f"{self._identity} could not renew the Lease in time")

    async def attempt(self) -> bool:
        """Try once to get or to renew the Lease; says whether this replica has it."""
        self._tried_at = began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._terms.renew_seconds / 2):
                found = await self._leases.read()
                if self._is_alive_elsewhere(found):
                    self._renewed_at = None
                    return False
                now = self._clock.now()
                self._note(await self._leases.write(self._identity, self._terms.lease_seconds, now, found))
        except (KubeFault, TimeoutError) as fault:
            _log.warning("lease_not_renewed", identity=self._identity, fault=str(fault) or "timeout")
            return False
        self._renewed_at = began  # before the request: the Lease cannot be older than that
        return True

    async def release(self) -> None:
        """Let another replica take over at once, on the way out."""
        if not self.is_leader:
            return
        self._renewed_at = None
        try:
            found = await self._leases.read()
            if found is not None and found.holder == self._identity:
                await self._leases.write("", 1, self._clock.now(), found)
        except KubeFault as fault:
            _log.warning("lease_not_released", identity=self._identity, fault=str(fault))

    def _is_alive_elsewhere(self, found: Lease | None) -> bool:
        if found is None or found.holder in {"", self._identity}:
            return False
        if self._seen is None or found.renewed != self._seen.renewed or found.holder != self._seen.holder:
            self._note(found)
        return self._clock.monotonic() - self._seen_at < found.seconds

    def _note(self, lease: Lease) -> None:
        self._seen, self._seen_at = lease, self._clock.monotonic()

    def __repr__(self) -> str:
        return f"<Leadership of {self._identity}: {'leading' if self.is_leader else 'standing by'}>"
