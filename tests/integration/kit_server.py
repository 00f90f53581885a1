"""A server of the kit as a child process, with the functions that a test names."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from tests.certificates import Authority
from tests.servers import HOST, Server

ROOT = Path(__file__).parents[2]
OK = 200


class KitServer(Server):
    """``python -m pannier_ondemand`` with somebody's functions."""

    name = "feature-server"

    def __init__(self, app: str, specs: Path, *flags: str, path: Path = ROOT) -> None:
        super().__init__()
        self._arguments = [app, f"--specs={specs}", *flags]
        self._path = path

    def command(self) -> list[str]:
        return [sys.executable, "-m", "pannier_ondemand", *self._arguments, f"--http={HOST}:{self.port}"]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self._path)}

    def answers(self) -> bool:
        return self.ask("GET", "/readyz")[0] == OK

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer."""
        with contextlib.closing(http.client.HTTPConnection(HOST, self.port, timeout=20)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def compute(self, group: str, schema_hash: str, *ids: str) -> tuple[int, dict[str, str], Any]:
        """Make a call as a sidecar does."""
        call = {"reads": [{"group": group, "schema_hash": schema_hash, "ids": list(ids)}]}
        status, headers, body = self.ask("POST", "/v1/features", json.dumps(call).encode())
        return status, headers, json.loads(body)


class SecureKitServer(KitServer):
    """One that serves HTTPS, by whomever it is certified now."""

    name = "secure-feature-server"

    def answers(self) -> bool:
        return self._is_trusted(ssl._create_unverified_context())

    def shows(self, authority: Authority) -> bool:
        """Whether new connections are shown a certificate of this authority."""
        return self._is_trusted(ssl.create_default_context(cadata=authority.certificate))

    def _is_trusted(self, context: ssl.SSLContext) -> bool:
        with contextlib.closing(http.client.HTTPSConnection(HOST, self.port, context=context)) as connection:
            try:
                connection.request("GET", "/readyz")
            except ssl.SSLCertVerificationError:
                return False
            return connection.getresponse().status == OK
