"""Looks at an installation through the API server, with the rights of whoever runs it; changes nothing.

Each look stands by itself: one that is not allowed, or not answered, is a line of the report and does not
keep the others from being made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from pannier.crd import NAME, PLURAL
from pannier.spec_base import API_VERSION
from pannier_operator.certificates.pairs import facts_of
from pannier_operator.checks import verdicts
from pannier_operator.checks.verdicts import Line
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.injection.wishes import INJECTED
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.pods import Pods
from pannier_operator.kube.tls_objects import TlsObjects

MOST_ASKED: Final = 10
"""Sidecars that are asked how they are."""
_ADMIN_PORT: Final = 8471
_HOOKS: Final = "/apis/admissionregistration.k8s.io/v1"
_PROBE: Final[Mapping[str, Any]] = {
    "metadata": {"generateName": "pannier-check-", "labels": {"pannier.dev/inject": "true"}},
    "spec": {"containers": [{"name": "app", "image": "never-pulled"}]},
}
Look = Callable[[], Awaitable[list[Line]]]


class Inspection:
    """One installation: the namespace of its release, and the first part of its objects' names."""

    def __init__(self, api: KubeApi, clock: Clock, *, home: str, release: str, apps: str) -> None:
        """``apps``: the namespace in which a pod is tried, without being stored."""
        self._api = api
        self._clock = clock
        self._home = home
        self._release = release
        self._apps = apps
        self._pods = Pods(api, (), home)

    async def lines(self) -> list[Line]:
        """Make every look, in the order in which one would mend what they find."""
        looks: dict[str, Look] = {
            "kubernetes": self._kubernetes,
            "CRD": self._definition,
            "operator": self._operator,
            "certificate": self._certificate,
            "injection": self._injection,
            "groups": self._groups,
            "pods": self._asking,
        }
        return [line for name, look in looks.items() for line in await _looked(name, look)]

    async def _kubernetes(self) -> list[Line]:
        return [verdicts.kubernetes(await self._api.get("/version"))]

    async def _definition(self) -> list[Line]:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}"
        return [verdicts.definition(await self._found(path))]

    async def _operator(self) -> list[Line]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._home}/leases/{self._release}-operator"
        return [verdicts.leader(await self._found(path), self._clock.now())]

    async def _certificate(self) -> list[Line]:
        secrets = TlsObjects(self._api, self._home)
        try:
            stored = await secrets.read(f"{self._release}-tls")
        except KubeFault as fault:
            if fault.is_missing:
                return []  # nothing of the release speaks TLS, or a Secret of another name
            raise
        facts = facts_of(stored.data.get("tls.crt", ""))
        return [verdicts.certificate(facts.ends_at if facts else None, self._clock.now())]

    async def _injection(self) -> list[Line]:
        name = f"{self._home}.{self._release}-injector"
        kinds = {
            "webhook": f"{_HOOKS}/mutatingwebhookconfigurations/{name}",
            "policy": f"{_HOOKS}/mutatingadmissionpolicies/{name}",
        }
        modes = [mode for mode, path in kinds.items() if await self._found(path) is not None]
        if not modes:
            return []  # injection.mode Off
        tried = await self._api.create(f"/api/v1/namespaces/{self._apps}/pods", _PROBE, dry_run=True)
        return [verdicts.injector(tried, modes[0])]

    async def _groups(self) -> list[Line]:
        return verdicts.groups([one async for one in self._api.items(f"/apis/{API_VERSION}/{PLURAL}")])

    async def _asking(self) -> list[Line]:
        """Look at pods that ask for a sidecar: those without one, and some of those with."""
        missed: list[tuple[str, str]] = []
        injected: list[tuple[str, str]] = []
        async for pod in self._pods.asking():
            metadata = pod["metadata"]
            has_one = INJECTED in (metadata.get("annotations") or {})
            (injected if has_one else missed).append((metadata["namespace"], metadata["name"]))
        return [
            verdicts.missed([f"{namespace}/{pod}" for namespace, pod in missed]),
            *await self._sidecars(injected),
        ]

    async def _sidecars(self, injected: Sequence[tuple[str, str]]) -> list[Line]:
        answers = await asyncio.gather(*(self._status(*one) for one in injected[:MOST_ASKED]))
        said = {
            f"{namespace}/{pod}": status for (namespace, pod), status in zip(injected, answers, strict=False)
        }
        return verdicts.sidecars({pod: one for pod, one in said.items() if one is not None}, len(injected))

    async def _status(self, namespace: str, pod: str) -> Mapping[str, Any] | None:
        try:
            return await self._api.get(
                f"/api/v1/namespaces/{namespace}/pods/{pod}:{_ADMIN_PORT}/proxy/v1/status"
            )
        except KubeFault:
            return None

    async def _found(self, path: str) -> dict[str, Any] | None:
        try:
            return await self._api.get(path)
        except KubeFault as fault:
            if fault.is_missing:
                return None
            raise

    def __repr__(self) -> str:
        return f"<Inspection of {self._home}/{self._release}>"


async def _looked(name: str, look: Look) -> Sequence[Line]:
    try:
        return await look()
    except KubeFault as fault:
        return [verdicts.not_seen(name, fault)]
