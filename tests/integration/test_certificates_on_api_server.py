"""The operator's own certificate for its webhooks, on a real API server: made, renewed, and never missed."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests import certificates
from tests.certificates import Authority
from tests.control_plane import ApiServer
from tests.helm import Object, pick, render
from tests.integration.chart_release import a_release
from tests.integration.injected_pods import (
    CREATED,
    HOOKS,
    OK,
    VALUES,
    InjectorProcess,
    Pods,
    a_team,
    hooked,
    sidecar_of,
    until_injecting,
)
from tests.integration.operator_cluster import a_cluster
from tests.servers import HOST

from pannier_operator.certificates import pairs
from pannier_operator.certificates.keeper import CertificateKeeper, Kept
from pannier_operator.certificates.pairs import Pair
from pannier_operator.certificates.rotation import Lives
from pannier_operator.clock import ManualClock
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.tls_objects import TlsObjects
from pannier_operator.setting_values import Hook

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dynamodb,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("aws_credentials"),
]
SECRET = "pannier-tls"
ADMISSIONS = 1_000
AT_ONCE = 8
LONG_AGO = dt.timedelta(days=250)
LIVES = Lives(server=dt.timedelta(days=330))
"""Made long ago by a clock in the past, certificates are still good by the API server's own."""


class Renewals:
    """A keeper on a clock in the past, Secrets and the webhook's configuration on the API server."""

    def __init__(self, api: ApiServer, keeper: CertificateKeeper, clock: ManualClock, hook: str) -> None:
        self.api = api
        self.keeper = keeper
        self.clock = clock
        self.hook = hook

    def served(self) -> Pair:
        """What a pod would find in its mounted Secret."""
        data = self.api.call("GET", f"/api/v1/namespaces/default/secrets/{SECRET}")[1]["data"]
        return Pair(*(base64.b64decode(data[name]).decode() for name in ("tls.crt", "tls.key")))

    def trusted(self) -> list[str]:
        """The bundle of each webhook."""
        hooks = self.api.call("GET", f"{HOOKS}/{self.hook}")[1]["webhooks"]
        return [base64.b64decode(one["clientConfig"]["caBundle"]).decode() for one in hooks]

    async def step(self, ahead: dt.timedelta) -> int:
        """Move the clock, and look; gives how many authorities are trusted now."""
        self.clock.advance(ahead.total_seconds())
        for _ in range(2):  # what is published is known to be so at the next look
            await self.keeper.look()
        (bundle,) = set(await asyncio.to_thread(self.trusted))
        return bundle.count("BEGIN CERTIFICATE")


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What the chart renders."""
    return render(VALUES)


@pytest.fixture
async def renewals(api_server: ApiServer, objects: list[Object]) -> AsyncIterator[Renewals]:
    """Empty Secrets, as the chart makes them, and somebody who fills them."""
    secrets = "/api/v1/namespaces/default/secrets"
    for suffix in ("", "-authority"):
        api_server.make(secrets, {"metadata": {"name": SECRET + suffix}})
    clock, names = ManualClock(dt.datetime.now(dt.UTC) - LONG_AGO), ("localhost",)
    hook = pick(objects, "MutatingWebhookConfiguration")["metadata"]["name"]
    async with (
        await find_credentials(str(api_server.admin.kubeconfig)) as credentials,
        KubeApi(credentials, may_write=lambda: None) as api,
    ):
        kept = Kept(SECRET, names, (Hook("mutating", hook),))
        keeper = CertificateKeeper(TlsObjects(api, "default"), kept, clock, lives=LIVES)
        yield Renewals(api_server, keeper, clock, hook)
    for suffix in ("", "-authority"):
        api_server.call("DELETE", f"{secrets}/{SECRET}{suffix}")


async def admissions(pods: Pods) -> list[tuple[int, Any]]:
    """Ask for a thousand pods, several at a time, that are never stored."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> tuple[int, Any]:
        async with gate:
            return await asyncio.to_thread(pods.create, f"app-{number}", dry_run=True)

    return await asyncio.gather(*(one(number) for number in range(ADMISSIONS)))


async def test_leaf_and_authority_are_renewed_and_no_pod_misses_its_sidecar(
    renewals: Renewals, api_server: ApiServer, objects: list[Object], tmp_path: Path
) -> None:
    """Two authorities in the bundle, the other pair, one authority: while a thousand pods are admitted."""
    pods = a_team(api_server)
    injector = InjectorProcess(tmp_path / "injector", objects, Authority().server(HOST))
    with injector, hooked(api_server, objects, injector, ""):
        assert await renewals.step(dt.timedelta()) == 1
        served = [renewals.served()]
        await mounted(injector, served[-1], 2)
        await asyncio.to_thread(until_injecting, api_server)
        asking = asyncio.create_task(admissions(pods))
        for ahead, authorities in ((dt.timedelta(days=244), 2), (dt.timedelta(hours=1), 2)):
            assert await renewals.step(ahead) == authorities
            served.append(renewals.served())
            await mounted(injector, served[-1], len(served) + 1)
        assert await renewals.step(dt.timedelta(hours=1)) == 1
        answers = await asking
        (bundle, _) = renewals.trusted()
    assert [pairs.is_signed_by(pair.certificate, bundle) for pair in served] == [False, False, True]
    assert {status for status, _ in answers} == {CREATED}
    assert all(sidecar_of(pod) for _, pod in answers)


async def mounted(injector: InjectorProcess, pair: Pair, count: int) -> None:
    """Bring a pair to the webhook, as a kubelet does, and wait until it has taken it up, its ``count``-th."""
    injector.renew(certificates.Pair(pair.certificate, pair.key))
    wanted = f'pannier_injector_certificates_total{{result="loaded"}} {count}.0'
    async with asyncio.timeout(60):
        while wanted not in (await asyncio.to_thread(injector.ask, "/metrics"))[1]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_the_charts_operator_fills_what_the_chart_made_empty(
    api_server: ApiServer, tmp_path: Path, dynoxide_url: str
) -> None:
    """With the rights of the chart: both Secrets, and the bundle of the webhook."""
    async with a_cluster(api_server, dynoxide_url) as cluster:
        await cluster.make_namespace("certificates")
        with a_release(api_server, "certificates", tmp_path, {}) as release:
            user = release.user()
            operator = release.operator(cluster.proxy.url, user)
            hook = pick(release.objects, "MutatingWebhookConfiguration")["metadata"]["name"]
            with operator:

                async def is_trusted() -> bool:
                    hooks = api_server.call("GET", f"{HOOKS}/{hook}")[1]["webhooks"]
                    return all(one["clientConfig"].get("caBundle") for one in hooks)

                await cluster.until(is_trusted)
            path = "/api/v1/namespaces/certificates/secrets/pannier-tls"
            status, found = api_server.call("GET", path)
            assert status == OK
            facts = pairs.facts_of(base64.b64decode(found["data"]["tls.crt"]).decode())
            assert facts is not None
            assert facts.names == ("pannier-injector.certificates.svc", "pannier-operator.certificates.svc")
            assert set(found["data"]) == {"ca.crt", "tls.crt", "tls.key"}
            assert api_server.refusals(user) == []
