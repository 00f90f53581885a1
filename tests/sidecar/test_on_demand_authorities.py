"""Whom a sidecar trusts to vouch for feature servers, while files come, go and are renewed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tests.certificates import Authority

from pannier_sidecar.on_demand.authorities import LOOK_SECONDS, TrustedAuthorities


class Time:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_on(self) -> None:
        """Until the next look."""
        self.now += LOOK_SECONDS


def trusted(context: ssl.SSLContext) -> list[bytes]:
    return context.get_ca_certs(binary_form=True)


def der(authority: Authority) -> bytes:
    return ssl.PEM_cert_to_DER_cert(authority.certificate)


def test_what_the_operator_publishes_is_trusted_alone_while_it_is_there(tmp_path: Path) -> None:
    """Looked at every few seconds; damage changes nothing; without it the system's count."""
    file, time, one, other = tmp_path / "ca.crt", Time(), Authority(), Authority()
    authorities = TrustedAuthorities(None, file, monotonic=time)
    systems = authorities.context()
    assert "of the system" in repr(authorities)
    file.write_text(one.certificate)
    assert authorities.context() is systems
    time.pass_on()
    first = authorities.context()
    assert trusted(first) == [der(one)]
    time.pass_on()
    assert authorities.context() is first
    file.write_text(one.certificate + other.certificate)
    time.pass_on()
    both = authorities.context()
    assert trusted(both) == [der(one), der(other)]
    for damage in ("", "no PEM", "é"):
        file.write_text(damage)
        time.pass_on()
        assert authorities.context() is both
    file.unlink()
    time.pass_on()
    assert authorities.context() is systems


def test_what_a_flag_names_has_to_be_there_and_stays(tmp_path: Path) -> None:
    """A start without it fails; if it goes later it is still trusted, and not the published one."""
    file, published, time, one = tmp_path / "named", tmp_path / "published", Time(), Authority()
    for damage in (None, "", "no PEM"):
        if damage is not None:
            file.write_text(damage)
        with pytest.raises(OSError):  # noqa: PT011 - whatever the system says
            TrustedAuthorities(file)
    file.write_text(one.certificate)
    published.write_text(Authority().certificate)
    authorities = TrustedAuthorities(file, published, monotonic=time)
    file.unlink()
    time.pass_on()
    assert trusted(authorities.context()) == [der(one)]
