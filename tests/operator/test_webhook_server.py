"""The webhook over real HTTPS: what it answers, what it does without API server, certificate or sense."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from tests.certificates import Authority
from tests.operator.api_server_on_the_wire import Wire
from tests.operator.test_webhook_verdict import ACCEPTED, PREFIX, SHARED, an_object
from tests.servers import HOST, free_port

from pannier.option_values import Address
from pannier_operator.admission.gate import Gate
from pannier_operator.admission.neighbourhood import Neighbourhood
from pannier_operator.admission.server import VALIDATE, AdmissionServer
from pannier_operator.clock import SystemClock
from pannier_operator.errors import CannotStart
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import Credentials, find_credentials
from pannier_operator.metrics import Metrics
from pannier_operator.on_demand.options import permissions
from pannier_operator.serving_certificate import ServingCertificate

ANYWHERE = Address(HOST, 0)


class Pair(NamedTuple):
    """The webhook's certificate and key as files, and whom a client has to trust for it."""

    chain: Path
    key: Path
    authority: str = ""

    def trust(self) -> ssl.SSLContext:
        """What a client needs to trust it and nothing else."""
        return ssl.create_default_context(cadata=self.authority)

    def put(self, other: Pair) -> None:
        """Take over the files of another pair, as a renewal does."""
        self.chain.write_bytes(other.chain.read_bytes())
        self.key.write_bytes(other.key.read_bytes())


def a_pair(folder: Path, name: str = "tls") -> Pair:
    """Make a certificate for this machine's own address."""
    authority = Authority()
    made = authority.server(HOST)
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key", authority.certificate)
    pair.chain.write_text(made.certificate)
    pair.key.write_text(made.key)
    return pair


class SmallApiServer:
    """Answers what the webhook asks: groups by groupName, and which namespaces there are."""

    def __init__(self) -> None:
        self.groups: list[dict[str, Any]] = []
        self.namespaces = {"kube-system", "shop", "ads"}
        self.asked: list[str] = []
        self.status = 200
        self.silent = False

    async def list_groups(self, request: web.Request) -> web.Response:
        """A list by field selector."""
        self.asked.append(f"{request.path}?{request.query['fieldSelector']}")
        if self.silent:
            await asyncio.sleep(3600)
        if self.status != 200:
            return web.json_response({"reason": "Forbidden", "message": "no"}, status=self.status)
        name = request.query["fieldSelector"].partition("=")[2]
        found = [group for group in self.groups if group["spec"]["groupName"] == name]
        return web.json_response({"metadata": {}, "items": found})

    async def get_namespace(self, request: web.Request) -> web.Response:
        """One namespace."""
        name = request.match_info["name"]
        if name not in self.namespaces:
            return web.json_response({"reason": "NotFound", "message": "not found"}, status=404)
        return web.json_response({"metadata": {"name": name, "uid": f"uid-{name}"}})


@contextlib.asynccontextmanager
async def serving(server: SmallApiServer) -> AsyncIterator[str]:
    application = web.Application()
    groups = "/apis/pannier.dev/v1alpha1/{folder:.*}featuregroups"
    application.router.add_get(groups, server.list_groups)
    application.router.add_get("/api/v1/namespaces/{name}", server.get_namespace)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    try:
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Webhook:
    """The webhook with a client before it and an API server behind it."""

    def __init__(
        self, server: AdmissionServer, pair: Pair, kubernetes: SmallApiServer, metrics: Metrics
    ) -> None:
        self.server = server
        self.pair = pair
        self.kubernetes = kubernetes
        self.metrics = metrics

    async def post(self, body: bytes, *, trusting: Pair | None = None) -> tuple[int, str]:
        """One request over a connection of its own."""
        connector = aiohttp.TCPConnector(ssl=(trusting or self.pair).trust(), force_close=True)
        async with aiohttp.ClientSession(connector=connector) as client:  # noqa: SIM117
            async with client.post(self.server.url + VALIDATE, data=body) as answer:
                return answer.status, await answer.text()

    async def review(self, new: dict[str, Any], operation: str = "CREATE") -> dict[str, Any]:
        """The response to a review."""
        request = {"uid": "7", "operation": operation, "object": new}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        status, text = await self.post(json.dumps(review).encode())
        assert status == 200, text
        response: dict[str, Any] = json.loads(text)["response"]
        assert response.pop("uid") == "7"
        return response

    def counted(self, line: str) -> bool:
        """Whether a scrape has this line."""
        return line in self.metrics.text().decode().splitlines()


async def credentials_for(url: str, folder: Path) -> Credentials:
    return await find_credentials(Wire(url=url).kubeconfig(folder), {})


@contextlib.asynccontextmanager
async def a_webhook(pair: Pair, *namespaces: str) -> AsyncIterator[Webhook]:
    kubernetes, metrics = SmallApiServer(), Metrics()
    async with (
        serving(kubernetes) as url,
        KubeApi(await credentials_for(url, pair.chain.parent), may_write=lambda: None) as api,
    ):
        around = Neighbourhood(api, namespaces, cluster_id=None, table_prefix=PREFIX)
        allowed = permissions("shop=ml")
        gate = Gate(
            around, SystemClock(), table_prefix=PREFIX, count=metrics.count_admission, allowed=allowed
        )
        certificate = ServingCertificate(pair.chain, pair.key, metrics.count_certificate)
        async with AdmissionServer(
            ANYWHERE, certificate, {VALIDATE: gate.judge}, refresh_seconds=0.05
        ) as server:
            yield Webhook(server, pair, kubernetes, metrics)


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[Webhook]:
    """A webhook of the test's own."""
    async with a_webhook(a_pair(tmp_path)) as made:
        yield made


async def until(holds: Any) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - it is the server's own pace that is waited for
            await asyncio.sleep(0.02)


async def test_a_taken_name_is_refused_and_a_free_one_allowed(webhook: Webhook) -> None:
    """Only groups of that name are asked for; the cluster is named as in tags and claims."""
    webhook.kubernetes.groups = [an_object("shop/user-facts", SHARED, **ACCEPTED)]
    response = await webhook.review(an_object("ads/facts", SHARED))
    assert response["allowed"] is False
    assert response["status"]["reason"] == "GroupNameTaken"
    assert "by shop/user-facts of cluster uid-kube-system" in response["status"]["message"]
    assert await webhook.review(an_object("ads/x", {**SHARED, "groupName": "free"})) == {"allowed": True}
    assert webhook.kubernetes.asked == [
        "/apis/pannier.dev/v1alpha1/featuregroups?spec.groupName=user_facts",
        "/apis/pannier.dev/v1alpha1/featuregroups?spec.groupName=free",
    ]
    refused = 'pannier_operator_admissions_total{reason="GroupNameTaken",result="refused"} 1.0'
    assert webhook.counted(refused)
    assert webhook.counted('pannier_operator_admissions_total{reason="",result="allowed"} 1.0')


async def test_its_own_earlier_version_is_no_neighbour(webhook: Webhook) -> None:
    """A group does not stand in its own way."""
    webhook.kubernetes.groups = [an_object("shop/x", SHARED, **ACCEPTED)]
    assert await webhook.review(an_object("shop/x", SHARED), "UPDATE") == {"allowed": True}


async def test_missing_consumers_are_warned_of(webhook: Webhook) -> None:
    """Kubectl shows it; the group is made."""
    grants = {"consumers": [{"namespace": "ads"}, {"namespace": "crm"}]}
    assert await webhook.review(an_object("shop/x", grants)) == {
        "allowed": True,
        "warnings": ["NamespaceMissing: these consumers have no namespace: crm"],
    }


async def test_a_restricted_operator_asks_only_where_it_may(tmp_path: Path) -> None:
    """One list for each of its namespaces."""
    async with a_webhook(a_pair(tmp_path), "shop", "crm") as webhook:
        await webhook.review(an_object("shop/x"))
        folder = "/apis/pannier.dev/v1alpha1/namespaces"
        assert webhook.kubernetes.asked == [
            f"{folder}/{name}/featuregroups?spec.groupName=user_facts" for name in ("shop", "crm")
        ]


@pytest.mark.parametrize("fault", ["forbidden", "silent"])
async def test_in_doubt_a_request_passes_with_a_warning(webhook: Webhook, fault: str) -> None:
    """An API server that refuses or does not answer in time is no reason to refuse a team."""
    webhook.kubernetes.status = 403 if fault == "forbidden" else 200
    webhook.kubernetes.silent = fault == "silent"
    response = await webhook.review(an_object("shop/x"))
    assert response["allowed"] is True
    assert "condition Ready will tell" in response["warnings"][0]
    assert webhook.counted('pannier_operator_admissions_total{reason="",result="unchecked"} 1.0')


async def test_a_service_of_another_namespace_needs_permission(webhook: Webhook) -> None:
    """Refused in the operator's words, without a question; one of the allow-list is not."""
    for namespace, is_allowed in (("ml", True), ("crm", False)):
        service = {"name": "scores", "namespace": namespace, "port": 80}
        computed = {"storage": {"mode": "None"}, "onDemand": {"service": service}}
        answer = await webhook.review(an_object("shop/scores", computed))
        assert answer["allowed"] is is_allowed, answer
    assert answer["status"]["message"] == (
        "ServiceNotAllowed: spec.onDemand.service.namespace: FeatureGroups of namespace shop may not use"
        " Services of namespace crm (--on-demand-services)"
    )


async def test_what_asks_for_nothing_costs_no_request(webhook: Webhook) -> None:
    """Deletions and edits of words are answered at once."""
    assert await webhook.review(an_object("shop/x", {"managementPolicy": "Paused"})) == {"allowed": True}
    assert webhook.kubernetes.asked == []


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00" * 100])
async def test_garbage_is_a_bad_request(webhook: Webhook, body: bytes) -> None:
    """Whoever posts it is told what is expected."""
    status, text = await webhook.post(body)
    assert status == 400
    assert "no AdmissionReview" in text


async def test_a_renewed_certificate_is_served_without_a_restart(webhook: Webhook, tmp_path: Path) -> None:
    """New connections get the new one; half a renewal leaves the old one in force."""
    renewed = a_pair(tmp_path, "renewed")
    webhook.pair.chain.write_bytes(renewed.chain.read_bytes())  # the key does not fit yet
    await until(lambda: webhook.counted('pannier_operator_certificates_total{result="refused"} 1.0'))
    assert (await webhook.post(b""))[0] == 400
    webhook.pair.put(renewed)
    await until(lambda: webhook.counted('pannier_operator_certificates_total{result="loaded"} 2.0'))
    assert (await webhook.post(b"", trusting=renewed))[0] == 400
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await webhook.post(b"")


async def test_without_certificate_it_waits_and_then_serves(tmp_path: Path) -> None:
    """The Secret may come after the operator."""
    pair = Pair(tmp_path / "late.crt", tmp_path / "late.key")
    async with a_webhook(pair) as webhook:
        assert not webhook.server.is_serving
        with pytest.raises(aiohttp.ClientConnectorError):
            await webhook.post(b"")
        webhook.pair = a_pair(tmp_path, "late")
        await until(lambda: webhook.server.is_serving)
        assert (await webhook.review(an_object("shop/x")))["allowed"] is True


async def test_an_address_that_is_taken_is_told_at_the_start(tmp_path: Path) -> None:
    """As with every other address."""
    pair = a_pair(tmp_path)
    certificate = ServingCertificate(pair.chain, pair.key)

    async def never(_: Any) -> Any:
        raise AssertionError

    address = Address(HOST, free_port())
    async with AdmissionServer(address, certificate, {VALIDATE: never}):
        with pytest.raises(CannotStart, match="--admission"):
            async with AdmissionServer(address, certificate, {VALIDATE: never}):
                pass
