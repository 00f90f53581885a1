"""When which certificate is made, trusted and dropped: one step at a time, on values and ``now``.

An authority is renewed with an overlap, so that no admission is ever refused for it: the next one is trusted
(published in the bundle) before anything is signed by it, and the last one is trusted until nothing that it
signed is served any more.

::

    signing ──2/3 of its life──▶ + coming, published ──overlap──▶ signs; + going ──overlap──▶ going dropped
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from pannier_operator.certificates.pairs import Facts, Pair


class Lives(NamedTuple):
    """How long what lives."""

    authority: dt.timedelta = dt.timedelta(days=365)
    server: dt.timedelta = dt.timedelta(days=60)
    overlap: dt.timedelta = dt.timedelta(hours=1)
    """Longer than a kubelet takes to bring a Secret to a pod, and than an API server to hear of a bundle."""


LIVES: Final = Lives()


class Maker(Protocol):
    """Makes and reads certificates: `pannier_operator.certificates.pairs`."""

    def make_authority(self, now: dt.datetime, life: dt.timedelta) -> Pair:
        """Make an authority."""
        ...

    def make_server(
        self, authority: Pair, names: Sequence[str], now: dt.datetime, life: dt.timedelta
    ) -> Pair:
        """Make a server's pair."""
        ...

    def facts_of(self, certificate: str) -> Facts | None:
        """Read one."""
        ...

    def is_signed_by(self, certificate: str, authority: str) -> bool:
        """Whether one vouches for the other."""
        ...


class Keyring(msgspec.Struct, frozen=True):
    """All that there is at a time."""

    signing: Pair | None = None
    coming: Pair | None = None
    """The next authority: trusted, and signs nothing yet."""
    going: str = ""
    """Certificate of the last one: still trusted, signs nothing any more."""
    server: Pair | None = None

    @property
    def bundle(self) -> str:
        """Whom to trust."""
        pairs = (pair.certificate for pair in (self.signing, self.coming) if pair is not None)
        return "".join([*pairs, self.going])


def advance(  # noqa: PLR0913 (what there is, what is wanted, and the means)
    keyring: Keyring,
    names: Sequence[str],
    now: dt.datetime,
    make: Maker,
    *,
    is_published: bool,
    lives: Lives = LIVES,
) -> Keyring:
    """Take the next step, if one is due. ``is_published``: whether API servers trust the bundle already."""
    signing = keyring.signing
    if signing is None or _ends_by(signing, now, make):
        signing = make.make_authority(now, lives.authority)
        return Keyring(signing=signing, server=make.make_server(signing, names, now, lives.server))
    coming = keyring.coming
    if coming is None and _is_due(signing, now, make):
        return msgspec.structs.replace(keyring, coming=make.make_authority(now, lives.authority))
    if coming is not None and is_published and _is_older(coming, lives.overlap, now, make):
        server = make.make_server(coming, names, now, lives.server)
        return Keyring(signing=coming, going=signing.certificate, server=server)
    served = keyring.server
    if served is None or not _is_fit(served, signing, names, now, make):
        made = make.make_server(signing, names, now, lives.server)
        return msgspec.structs.replace(keyring, server=made)
    if keyring.going and _is_older(served, lives.overlap, now, make):
        return msgspec.structs.replace(keyring, going="")
    return keyring


def _is_fit(server: Pair, signing: Pair, names: Sequence[str], now: dt.datetime, make: Maker) -> bool:
    facts = make.facts_of(server.certificate)
    if facts is None or set(facts.names) != set(names) or _is_due(server, now, make):
        return False
    return make.is_signed_by(server.certificate, signing.certificate)


def _is_due(pair: Pair, now: dt.datetime, make: Maker) -> bool:
    """Whether two thirds of its life are over; what cannot be read is."""
    facts = make.facts_of(pair.certificate)
    return facts is None or now >= facts.made_at + (facts.ends_at - facts.made_at) * 2 / 3


def _ends_by(pair: Pair, now: dt.datetime, make: Maker) -> bool:
    facts = make.facts_of(pair.certificate)
    return facts is None or now >= facts.ends_at


def _is_older(pair: Pair, age: dt.timedelta, now: dt.datetime, make: Maker) -> bool:
    facts = make.facts_of(pair.certificate)
    return facts is not None and now >= facts.made_at + age
