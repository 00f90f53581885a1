"""Certificates over the years: nobody is ever shown what nobody trusts yet, or what has ended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier_operator.certificates import pairs
from pannier_operator.certificates.pairs import Facts, Pair
from pannier_operator.certificates.rotation import LIVES, Keyring, Lives, advance

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
NAMES = ("pannier-injector.pannier-system.svc",)


class Paper:
    """Makes certificates of paper: quick, and as telling."""

    def __init__(self) -> None:
        self._facts: dict[str, Facts] = {}
        self._signer: dict[str, str] = {}

    def make_authority(self, now: dt.datetime, life: dt.timedelta) -> Pair:
        return self._made(Facts(now, now + life, ()), "")

    def make_server(
        self, authority: Pair, names: Sequence[str], now: dt.datetime, life: dt.timedelta
    ) -> Pair:
        return self._made(Facts(now, now + life, tuple(names)), authority.certificate)

    def facts_of(self, certificate: str) -> Facts | None:
        return self._facts.get(certificate)

    def is_signed_by(self, certificate: str, authority: str) -> bool:
        return self._signer.get(certificate) == authority

    def signer(self, certificate: str) -> str:
        return self._signer[certificate]

    def _made(self, facts: Facts, signer: str) -> Pair:
        certificate = f"[{len(self._facts)}]"
        self._facts[certificate] = facts
        self._signer[certificate] = signer
        return Pair(certificate, "key")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20_000), st.booleans()), min_size=50, max_size=400))
def test_what_is_served_is_trusted_and_alive(steps: list[tuple[int, bool]]) -> None:
    """Looks come when they come (minutes apart), and API servers hear of a bundle late or not at all."""
    paper, now, keyring = Paper(), START, Keyring()
    trusted: list[str] = []
    for minutes, is_told in steps:
        now += dt.timedelta(minutes=minutes)
        for _ in range(4):
            is_published = bool(trusted) and trusted[-1] == keyring.bundle
            if not is_published and is_told:
                trusted.append(keyring.bundle)
            before, keyring = keyring, advance(keyring, NAMES, now, paper, is_published=is_published)
            if keyring == before:
                break
        assert keyring.server is not None
        assert keyring.signing is not None
        facts = paper.facts_of(keyring.server.certificate)
        assert facts is not None
        assert facts.names == NAMES
        assert now < facts.ends_at
        signer = paper.signer(keyring.server.certificate)
        assert signer in keyring.bundle
        if before.signing is not None and len(trusted) > 1 and before.signing != keyring.signing:
            assert signer in trusted[-1]
        assert keyring.bundle.count("[") <= 3


def test_an_authority_is_trusted_before_it_signs_and_until_nothing_of_it_is_served() -> None:
    """Step by step, each an overlap after the one before."""
    paper = Paper()
    first = advance(Keyring(), NAMES, START, paper, is_published=False)
    assert first.signing is not None
    assert first.bundle == first.signing.certificate
    due = START + LIVES.authority * 2 / 3
    renewed = advance(first, NAMES, due - dt.timedelta(seconds=1), paper, is_published=True)
    announced = advance(renewed, NAMES, due, paper, is_published=True)
    assert announced.coming is not None
    assert announced.signing == first.signing
    assert announced.bundle == first.signing.certificate + announced.coming.certificate
    later = due + LIVES.overlap
    assert advance(announced, NAMES, later, paper, is_published=False) == announced
    switched = advance(announced, NAMES, later, paper, is_published=True)
    assert (switched.signing, switched.coming, switched.going) == (
        announced.coming,
        None,
        first.signing.certificate,
    )
    assert switched.server is not None
    assert paper.is_signed_by(switched.server.certificate, announced.coming.certificate)
    assert advance(switched, NAMES, later, paper, is_published=True) == switched
    done = advance(switched, NAMES, later + LIVES.overlap, paper, is_published=True)
    assert done.bundle == announced.coming.certificate


@pytest.mark.parametrize("change", ["names", "stranger", "garbage", "two thirds"])
def test_a_server_certificate_that_does_not_fit_is_made_anew(change: str) -> None:
    """Other names, signed by nobody known, unreadable, or due."""
    paper = Paper()
    keyring = advance(Keyring(), NAMES, START, paper, is_published=False)
    names, now, server = NAMES, START, keyring.server
    assert server is not None
    if change == "names":
        names = ("other.svc",)
    elif change == "stranger":
        server = paper.make_server(paper.make_authority(START, LIVES.authority), NAMES, START, LIVES.server)
    elif change == "garbage":
        server = Pair("no certificate", "key")
    else:
        now += LIVES.server * 2 / 3
    held = Keyring(signing=keyring.signing, server=server)
    made = advance(held, names, now, paper, is_published=True)
    assert made.signing == keyring.signing
    assert made.server != server
    assert advance(made, names, now, paper, is_published=True) == made


def test_after_a_year_away_all_begins_anew() -> None:
    """Nothing of what has ended is kept."""
    paper = Paper()
    keyring = advance(Keyring(), NAMES, START, paper, is_published=False)
    fresh = advance(keyring, NAMES, START + LIVES.authority, paper, is_published=True)
    assert keyring.signing is not None
    assert keyring.signing.certificate not in fresh.bundle


def test_real_certificates_say_what_they_should() -> None:
    """Made, read again, and told apart."""
    lives = Lives()
    authority, other = (pairs.make_authority(START, lives.authority) for _ in range(2))
    server = pairs.make_server(authority, NAMES, START, lives.server)
    assert pairs.facts_of(server.certificate) == Facts(START, START + lives.server, NAMES)
    assert pairs.facts_of(authority.certificate) == Facts(START, START + lives.authority, ())
    assert pairs.is_signed_by(server.certificate, authority.certificate)
    assert not pairs.is_signed_by(server.certificate, other.certificate)
    assert not pairs.is_signed_by("no certificate", other.certificate)
    assert pairs.facts_of("no certificate") is None
