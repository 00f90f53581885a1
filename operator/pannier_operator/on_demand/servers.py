"""What is known of a feature server -> the finding of condition OnDemandReady, and when to look again. Pure.

Messages name what a person can act on and nothing that changes by itself: a pass without news writes nothing.
"""

from __future__ import annotations

import http
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pannier.catalog import CatalogGroup
from pannier_operator.planning.findings import Finding

READY: Final = Finding("True", "ServerReady", "the feature server answers by this schema")
LOOK_AGAIN_SECONDS: Final = 60.0
"""Between two looks at a server that is ready."""
NOT_READY_SECONDS: Final = 10.0
"""Between two looks at one that is not."""
FAILURES_TOLD: Final = 3
"""Failed handshakes in a row before a server that was ready is said not to be."""
_PASSING: Final = frozenset({"ServerUnreachable", "ServerFailing", "ServerGarbled"})
_BUSY: Final = frozenset({408, 425, 429})
_REASON: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")


class Server(NamedTuple):
    """Whom to ask for one group, and by which schema."""

    service: str
    namespace: str
    port: int
    path: str
    scheme: str
    group: str
    schema_hash: str
    features: tuple[str, ...]

    @property
    def host(self) -> str:
        """The Service's name in the cluster's DNS."""
        return f"{self.service}.{self.namespace}.svc"

    @property
    def where(self) -> str:
        """The Service, for people."""
        return f"{self.namespace}/{self.service}:{self.port}"


def server_of(group: CatalogGroup) -> Server | None:
    """Name the server of a group; None = it is stored."""
    if group.on_demand is None:
        return None
    service: Mapping[str, Any] = group.on_demand["service"]
    return Server(
        service=service["name"],
        namespace=service.get("namespace") or group.namespace,
        port=service["port"],
        path=service["path"],
        scheme=service["scheme"].lower(),
        group=group.group_name,
        schema_hash=group.schema_hash,
        features=tuple(feature.name for feature in group.features if feature.state != "Removed"),
    )


def judge_service(server: Server, service: Mapping[str, Any] | None) -> Finding | None:
    """Say why a Service cannot be called; None = it can, as far as it goes."""
    if service is None:
        return Finding(
            "False", "ServiceMissing", f"there is no Service {server.service} in namespace {server.namespace}"
        )
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        message = f"{server.where} is of type ExternalName, which leads out of the cluster"
        return Finding("False", "ServiceExternal", message)
    ports = [port["port"] for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"]
    if server.port not in ports:
        listed = ", ".join(map(str, sorted(ports))) or "none"
        message = (
            f"Service {server.namespace}/{server.service} has no TCP port {server.port}; it has {listed}"
        )
        return Finding("False", "ServicePortMissing", message)
    return None


def judge_endpoints(server: Server, slices: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Say that no pod stands behind a Service; None = one does. An absent `ready` counts as true."""
    for piece in slices:
        for endpoint in piece.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                return None
    return Finding(
        "False", "NoEndpoints", f"no pod behind Service {server.namespace}/{server.service} is ready"
    )


def judge_status(server: Server, status: int) -> Finding:
    """Say what a refusal of a handshake as a whole means."""
    if status in _BUSY or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return Finding("False", "ServerFailing", f"{server.where} answers the handshake with status {status}")
    return Finding("False", "ServerRefuses", f"{server.where} answers the handshake with status {status}")


def judge_answer(server: Server, answer: Any) -> Finding:
    """Read the answer to a handshake: a read of no ids, answered by one result for that group."""
    results = answer.get("results") if isinstance(answer, dict) else None
    result = results[0] if isinstance(results, list) and len(results) == 1 else None
    if not isinstance(result, dict) or result.get("group") != server.group:
        return garbled(server, "its answer is none of the protocol")
    error = result.get("error")
    if isinstance(error, dict):
        return _refused(server, str(error.get("reason") or ""))
    if result.get("rows") != []:
        return garbled(server, "it answers rows that were not asked for")
    return READY


def garbled(server: Server, why: str) -> Finding:
    """Say that what came is no answer."""
    return Finding("False", "ServerGarbled", f"{server.where}: {why}")


def untrusted(server: Server, why: str) -> Finding:
    """Say that it may be anybody."""
    return Finding("False", "ServerUntrusted", f"{server.where}: {why}")


def unreachable(server: Server, why: str) -> Finding:
    """Say that nothing came."""
    return Finding("False", "ServerUnreachable", f"{server.where}: {why}")


def _refused(server: Server, reason: str) -> Finding:
    if reason == "SchemaMismatch":
        message = f"{server.where} has another schema than {server.schema_hash}"
        return Finding("False", "SchemaMismatch", message)
    if reason == "UnknownGroup":
        return Finding("False", "ServerRefuses", f"{server.where} does not compute {server.group}")
    why = f" with {reason}" if _REASON.fullmatch(reason) else ""
    return Finding("False", "ServerRefuses", f"{server.where} refuses the handshake{why}")


class Looks(NamedTuple):
    """What came of the looks at one server so far."""

    told: Finding | None = None
    failures: int = 0

    def after(self, found: Finding) -> Looks:
        """Take in a look: a single failed handshake does not take back that a server was ready."""
        if found.reason not in _PASSING:
            return Looks(found)
        failures, told = self.failures + 1, self.told
        if told is None:
            return Looks(found, failures)
        is_same = told.reason == found.reason  # how it fails may change from look to look: that is no news
        is_kept = is_same or (told.holds and failures < FAILURES_TOLD)
        return Looks(told if is_kept else found, failures)

    @property
    def again_seconds(self) -> float:
        """When to look again."""
        is_calm = self.told is not None and self.told.holds and not self.failures
        return LOOK_AGAIN_SECONDS if is_calm else NOT_READY_SECONDS
