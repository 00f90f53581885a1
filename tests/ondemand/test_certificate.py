"""The certificate of a feature server: what is taken up while it serves, and what is not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.certificates import Authority, Pair
from tests.servers import HOST

from pannier_ondemand.__main__ import trusted_by
from pannier_ondemand.certificate import LOOK_SECONDS, ServingCertificate

NAME = "scores.shop.svc"


@dataclass
class Served:
    """A port with the certificate, its files and its clock."""

    folder: Path
    now: float = 0.0
    port: int = 0
    authority: Authority = field(default_factory=Authority)

    def put(self, pair: Pair) -> None:
        """Renew the files."""
        (self.folder / "tls.crt").write_text(pair.certificate)
        (self.folder / "tls.key").write_text(pair.key)

    def monotonic(self) -> float:
        return self.now

    async def is_trusted_by(self, authority: Authority) -> bool:
        """Whether a client that knows this authority alone takes the connection for the Service's."""
        context = ssl.create_default_context(cadata=authority.certificate)
        try:
            _, writer = await asyncio.open_connection(HOST, self.port, ssl=context, server_hostname=NAME)
        except ssl.SSLCertVerificationError:
            return False
        writer.close()
        return True


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A port over TLS."""
    made = Served(tmp_path)
    made.put(made.authority.server(HOST, NAME))
    certificate = ServingCertificate(tmp_path / "tls.crt", tmp_path / "tls.key", monotonic=made.monotonic)
    server = await asyncio.start_server(lambda _r, w: w.close(), HOST, 0, ssl=certificate.context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


async def test_a_renewed_pair_is_taken_up_without_a_restart(served: Served) -> None:
    """Within seconds, for new connections; a half written one leaves the last good one in force."""
    assert await served.is_trusted_by(served.authority)
    other = Authority()
    served.put(other.server(HOST, NAME))
    assert await served.is_trusted_by(served.authority)  # not looked at with each connection
    served.now += LOOK_SECONDS
    assert await served.is_trusted_by(other)
    assert not await served.is_trusted_by(served.authority)
    served.put(Pair(served.authority.server(HOST, NAME).certificate, "no key"))
    served.now += LOOK_SECONDS
    assert await served.is_trusted_by(other)


def test_a_start_needs_a_pair_or_none_of_it(tmp_path: Path) -> None:
    """What is wrong is said in the words of the flags."""
    assert trusted_by(None, None) is None
    with pytest.raises(ValueError, match="--certificate and --key go together"):
        trusted_by(tmp_path / "tls.crt", None)
    with pytest.raises(ValueError, match=r"--certificate .*tls.crt"):
        trusted_by(tmp_path / "tls.crt", tmp_path / "tls.key")
