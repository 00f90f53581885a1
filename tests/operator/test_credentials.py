"""How the API server is reached: kubeconfigs, programs, service accounts; renewed, and told to kopf."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import incluster_config
from tests.operator.api_server_on_the_wire import Wire, a_wire
from tests.servers import HOST, find_tool

from pannier_operator.errors import CannotStart
from pannier_operator.kube import credentials
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import Credentials, find_credentials
from pannier_operator.watching import _connection

ELSEWHERE = Wire(url="https://127.0.0.1:6443")
OWN = ("own.crt", "own.key")


def a_program(folder: Path, **status: str) -> dict[str, Any]:
    """A kubeconfig's user whose program counts its runs and prints what is in a file."""
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    (folder / "said").write_text(json.dumps(said))
    code = f"open({str(folder / 'runs')!r}, 'a').write('.'); print(open({str(folder / 'said')!r}).read())"
    command = {"apiVersion": said["apiVersion"], "command": sys.executable, "args": ["-c", code]}
    return {"exec": {**command, "interactiveMode": "Never"}}


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text())


async def test_a_kubeconfig_is_read(tmp_path: Path) -> None:
    """Server, token and namespace of the current context; no secret in what it prints."""
    found = await find_credentials(ELSEWHERE.kubeconfig(tmp_path, {"token": "hush"}), {})
    assert found.configuration.host == "https://127.0.0.1:6443"
    assert found.authorization == ("Bearer", "hush")
    assert found.namespace == "team"
    assert "hush" not in repr(found)
    path = ELSEWHERE.kubeconfig(tmp_path, {"username": "me", "password": "hush"})
    assert (await find_credentials(None, {"KUBECONFIG": path})).authorization == (
        "Basic",
        base64.b64encode(b"me:hush").decode(),
    )


async def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    """Tokens in files change under a running operator; while there is none, the last one stands."""
    (tmp_path / "token").write_text("one\n")
    async with a_wire() as wire:
        found = await find_credentials(wire.kubeconfig(tmp_path, {"tokenFile": "token"}), {})
        async with KubeApi(found, may_write=lambda: None) as api:
            await api.get("/")
            (tmp_path / "token").write_text("two\n")
            await found.renew()
            await api.get("/")
            (tmp_path / "token").unlink()
            await found.renew()
            await api.get("/")
        assert [asked.headers["Authorization"][7:] for asked in wire.asked] == ["one", "two", "two"]


async def test_credentials_are_renewed_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to ask for it."""
    monkeypatch.setattr(credentials, "_RENEW_SECONDS", 0.01)
    (tmp_path / "token").write_text("one")
    async with await find_credentials(ELSEWHERE.kubeconfig(tmp_path, {"tokenFile": "token"}), {}) as found:
        (tmp_path / "token").write_text("two")
        async with asyncio.timeout(20):
            while found.authorization != ("Bearer", "two"):  # noqa: ASYNC110 - files announce nothing
                await asyncio.sleep(0.01)


@pytest.mark.filterwarnings("ignore:.*utcnow:DeprecationWarning")  # the library's, from Python 3.12 on
async def test_a_program_gives_a_token_until_it_ends(tmp_path: Path) -> None:
    """The exec plugins of cloud vendors; one is run again when its token is about to end, not before."""
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    soon = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    user = a_program(tmp_path, token="one", expirationTimestamp=soon)
    found = await find_credentials(ELSEWHERE.kubeconfig(tmp_path, user), {})
    assert (found.authorization, runs(tmp_path)) == (("Bearer", "one"), 1)
    a_program(tmp_path, token="two", expirationTimestamp=later)
    await found.renew()
    assert (found.authorization, runs(tmp_path)) == (("Bearer", "two"), 2)
    await found.renew()
    assert runs(tmp_path) == 2


async def test_a_program_that_fails_leaves_the_last_token(tmp_path: Path) -> None:
    """A renewal that fails is logged; a start without any token is refused."""
    user = a_program(tmp_path, token="one")
    path = ELSEWHERE.kubeconfig(tmp_path, user)
    found = await find_credentials(path, {})
    (tmp_path / "said").write_text("nonsense")
    await found.renew()
    assert found.authorization == ("Bearer", "one")
    with pytest.raises(CannotStart, match="its user 'u' gave nothing to authenticate with"):
        await find_credentials(path, {})


async def test_a_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """Broken and missing files are named; a secret in them is not told."""
    (tmp_path / "config").write_text("contexts: 7")
    with pytest.raises(CannotStart, match=f"kubeconfig {tmp_path}/config cannot be used"):
        await find_credentials(str(tmp_path / "config"), {})
    path = ELSEWHERE.kubeconfig(tmp_path)
    text = (tmp_path / "config").read_text()
    (tmp_path / "config").write_text(text.replace("  user:\n", "  usr:\n"))
    with pytest.raises(CannotStart, match="Expected key user in") as caught:
        await find_credentials(path, {})
    assert "hush" not in str(caught.value)
    with pytest.raises(CannotStart, match="there is no such file"):
        await find_credentials(str(tmp_path / "none"), {})
    with pytest.raises(CannotStart, match="no API server"):
        await find_credentials(None, {})
    path = ELSEWHERE.kubeconfig(tmp_path, None, **{"certificate-authority-data": "bm9uZQ=="})
    with pytest.raises(CannotStart, match="certificates cannot be used"):
        async with KubeApi(await find_credentials(path, {}), may_write=lambda: None):
            pass


async def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address from the environment, token, certificate and namespace from the mounted files."""
    for name, text in [("token", "one\n"), ("ca.crt", "PEM"), ("namespace", "pannier-system")]:
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(CannotStart, match="the service account cannot be used"):
        await find_credentials(None, {})
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = await find_credentials(None, {"KUBECONFIG": "not looked at"})
    assert found.configuration.host == "https://[fd00::1]:443"
    assert found.namespace == "pannier-system"
    assert found.authorization == ("bearer", "one")
    (tmp_path / "token").write_text("two")
    await found.renew()
    assert found.authorization == ("bearer", "two")


def make_certificate(folder: Path) -> tuple[str, str]:
    """A certificate of this machine that is its own authority, and serves clients as well; and its key."""
    certificate, key = (str(folder / name) for name in OWN)
    command = [find_tool("openssl"), "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt"]
    command += ["ec_paramgen_curve:prime256v1", "-subj", "/CN=test", "-addext", f"subjectAltName=IP:{HOST}"]
    subprocess.run([*command, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


async def test_a_client_certificate_opens_the_connection(tmp_path: Path) -> None:
    """Trusting the cluster's authority only, known by our certificate; kopf is told the same."""
    files = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files[0])
    tls.load_cert_chain(*files)
    tls.verify_mode = ssl.CERT_REQUIRED
    certificate, key = (base64.b64encode((tmp_path / name).read_bytes()).decode() for name in OWN)
    user = {"client-certificate-data": certificate, "client-key-data": key}
    async with a_wire(tls) as wire:
        trust = {"certificate-authority-data": certificate}
        found = await find_credentials(wire.kubeconfig(tmp_path, user, **trust), {})
        async with KubeApi(found, may_write=lambda: None) as api:
            await api.get("/")
        connection = _connection(found)
        assert connection.as_ssl_context().get_ca_certs()
        assert connection.certificate_path == found.configuration.cert_file
        assert connection.token is None


async def test_kopf_is_told_what_we_use(tmp_path: Path) -> None:
    """One source of credentials: server, scheme, token; and it asks again before long."""
    found: Credentials = await find_credentials(
        ELSEWHERE.kubeconfig(tmp_path, {"token": "hush"}, **{"insecure-skip-tls-verify": True}), {}
    )
    connection = _connection(found)
    assert connection.server == "https://127.0.0.1:6443"
    assert connection.as_http_headers() == {"Authorization": "Bearer hush"}
    assert connection.insecure
    assert connection.expiration is not None
    assert connection.expiration < datetime.now(UTC) + timedelta(minutes=10)
