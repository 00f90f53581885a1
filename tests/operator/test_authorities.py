"""Whom sidecars and the operator are to trust: what of a file gets into the catalogs of all namespaces."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.certificates import Authority
from tests.integration.feature_server import a_computed_group, a_feature_server
from tests.servers import HOST

from pannier.catalog_feed import AUTHORITY_FILE, ON_DEMAND_AUTHORITY_FILE
from pannier.option_values import Address
from pannier_operator.authorities import MAX_BYTES, authority_in, beside_catalogs, certificates_of
from pannier_operator.on_demand.handshake import Handshake
from pannier_operator.on_demand.servers import server_of
from pannier_operator.planning.findings import Finding

NAME = "scores.shop.svc"


def test_an_authority_is_read_whenever_it_is_wanted_and_never_with_a_key(tmp_path: Path) -> None:
    """It goes into every namespace: what holds a private key must not get there by mistake."""
    file, authority = tmp_path / "ca.crt", Authority()
    read = authority_in(str(file))
    assert authority_in(None)() == ""
    assert read() is None
    file.write_text(authority.certificate)
    assert read() == authority.certificate
    for bad in (
        authority.certificate + authority.server("127.0.0.1").key,
        "hello",
        "",
        authority.certificate.replace("M", "-", 1),
        authority.certificate + "\n" * MAX_BYTES,
    ):
        file.write_text(bad)
        assert read() is None, bad


def test_what_stands_around_certificates_is_not_passed_on() -> None:
    """Several are, in their order; notes and secrets between them are not."""
    one, other = Authority().certificate, Authority().certificate
    noted = f"# of team A, password hunter2\n{one}\nsubject=/CN=x\n{other}"
    assert certificates_of(noted.encode()) == one + other


def test_both_files_have_their_names(tmp_path: Path) -> None:
    """One that cannot be read now is left as it stands; one that nobody names is taken away."""
    (tmp_path / "ca.crt").write_text(Authority().certificate)
    beside = beside_catalogs(None, str(tmp_path / "ca.crt"))
    found = dict(beside())
    assert found[AUTHORITY_FILE] == ""
    assert found[ON_DEMAND_AUTHORITY_FILE] == (tmp_path / "ca.crt").read_text()
    (tmp_path / "ca.crt").unlink()
    assert beside()[ON_DEMAND_AUTHORITY_FILE] is None


def served_by(authority: Authority, name: str, folder: Path) -> tuple[Authority, ssl.SSLContext]:
    pair = authority.server(HOST, name)
    (folder / "crt").write_text(pair.certificate)
    (folder / "key").write_text(pair.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "crt", folder / "key")
    return authority, context


async def test_a_handshake_trusts_whom_it_is_told_to_now(tmp_path: Path) -> None:
    """The system's authorities know nobody here; an authority comes, goes, and comes back renewed."""
    authority, context = served_by(Authority(), NAME, tmp_path)
    server = server_of(a_computed_group(on_demand={"scheme": "HTTPS"}))
    assert server is not None
    named: list[str | None] = [""]
    async with a_feature_server(lambda _read: [], context) as here:
        at = {"scores.shop": Address(HOST, here.port)}
        async with Handshake(at, lambda: named[0]) as handshake:

            async def said() -> Finding:
                return await handshake.shake(server)

            assert (await said()).reason == "ServerUntrusted"
            for named[0], reason in (
                (authority.certificate, "ServerReady"),
                (None, "ServerUntrusted"),
                (Authority().certificate, "ServerUntrusted"),
                (Authority("other").certificate + authority.certificate, "ServerReady"),
            ):
                assert (await said()).reason == reason
            assert len(here.asked) == 2  # nothing is sent to whom it does not trust
    named[0] = authority.certificate
    other = served_by(authority, "other.shop.svc", tmp_path)[1]
    async with a_feature_server(lambda _read: [], other) as here:
        at = {"scores.shop": Address(HOST, here.port)}
        async with Handshake(at, lambda: named[0]) as handshake:
            assert (await handshake.shake(server)).message.endswith(f"for {NAME} is not trusted")
