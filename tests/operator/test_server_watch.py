"""What the operator says of feature servers, and whose Services may be used."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.integration.feature_server import FeatureServer, a_computed_group, a_feature_server, never
from tests.operator.api_server_on_the_wire import Wire, a_wire
from tests.servers import HOST

from pannier.option_values import Address
from pannier.options import SettingsInvalid
from pannier_operator.catalogs.group_index import Key
from pannier_operator.clock import SystemClock
from pannier_operator.kube.api_client import KubeApi
from pannier_operator.kube.credentials import find_credentials
from pannier_operator.kube.services import Services
from pannier_operator.on_demand.handshake import MAX_ANSWER_BYTES, Handshake
from pannier_operator.on_demand.options import permissions
from pannier_operator.on_demand.references import refused_server
from pannier_operator.on_demand.server_watch import ServerWatch
from pannier_operator.on_demand.servers import (
    READY,
    Looks,
    Server,
    judge_answer,
    judge_endpoints,
    judge_service,
    judge_status,
    server_of,
    unreachable,
)
from pannier_operator.planning.findings import Finding
from pannier_operator.reporting.conditions import conditions
from pannier_operator.reporting.outcome import Outcome
from pannier_operator.settings import load

Woken = asyncio.Queue[Key]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def a_server() -> Server:
    server = server_of(a_computed_group())
    assert server is not None
    return server


def test_a_service_is_judged_by_kind_and_port() -> None:
    """A Service that is not there, leads out of the cluster or lacks the port is said so."""
    server = a_server()
    ports = {"ports": [{"port": server.port}]}
    for service, reason in (
        (None, "ServiceMissing"),
        ({"spec": {"type": "ExternalName", **ports}}, "ServiceExternal"),
        ({"spec": {"ports": [{"port": 81}]}}, "ServicePortMissing"),
    ):
        finding = judge_service(server, service)
        assert finding is not None
        assert finding.reason == reason
    assert judge_service(server, {"spec": ports}) is None


def test_an_endpoint_has_to_be_ready() -> None:
    """No slice and none that is ready are the same; an absent condition counts as ready."""
    server = a_server()
    assert judge_endpoints(server, []) is not None
    assert judge_endpoints(server, [{"endpoints": [{"conditions": {"ready": False}}]}]) is not None
    assert judge_endpoints(server, [{"endpoints": [{}]}]) is None


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"rows": []}, "ServerReady"),
        ({"error": {"reason": "SchemaMismatch"}}, "SchemaMismatch"),
        ({"error": {"reason": "UnknownGroup"}}, "ServerRefuses"),
        ({"rows": [{}]}, "ServerGarbled"),
        ({"group": "other", "rows": []}, "ServerGarbled"),
    ],
)
def test_an_old_schema_has_a_reason_of_its_own(result: dict[str, object], reason: str) -> None:
    """What a server answers to a read of no ids tells whether it is the right one."""
    server = a_server()
    assert judge_answer(server, {"results": [{"group": server.group, **result}]}).reason == reason


def test_one_failed_handshake_takes_nothing_back() -> None:
    """Three in a row do; a server that never was ready is told of at once."""
    down = unreachable(a_server(), "gone")
    looks = Looks(READY).after(down).after(down)
    assert looks.told == READY
    assert looks.after(down).told == down
    assert Looks().after(down).told == down


def test_a_service_elsewhere_needs_a_permission() -> None:
    """Own Services may be used; others by a pair that names both directions."""
    other = {"service": {"namespace": "ml"}}
    assert refused_server("shop", {"service": {}}, ()) is None
    assert refused_server("shop", other, permissions("shop=ml")) is None
    assert refused_server("shop", other, permissions("*=ml")) is None
    refusal = refused_server("shop", other, permissions("ml=shop"))
    assert refusal is not None
    assert refusal.reason == "ServiceNotAllowed"


def test_how_a_server_fails_is_no_news() -> None:
    """What changes from look to look is not told again; another reason is."""
    server = a_server()
    down = Looks().after(unreachable(server, "no answer within 2 s"))
    assert down.after(unreachable(server, "reset")).told == down.told
    failing = judge_status(server, 503)
    assert down.after(failing).told == failing
    assert (Looks(READY).again_seconds, down.again_seconds) == (60, 10)
    assert Looks(READY).after(failing).again_seconds == 10


@pytest.mark.parametrize(
    ("status", "reason"),
    [(302, "ServerRefuses"), (404, "ServerRefuses"), (429, "ServerFailing"), (500, "ServerFailing")],
)
def test_a_refusal_as_a_whole_says_whether_it_may_pass(status: int, reason: str) -> None:
    """Another server or another path stays so; one that is busy does not."""
    assert judge_status(a_server(), status).reason == reason


def test_what_a_server_says_of_a_refusal_is_a_word_or_nothing() -> None:
    """A reason of the protocol gets into status, a text does not."""
    server = a_server()
    for said, told in (("Overloaded", " with Overloaded"), ("see http://elsewhere", "")):
        answer = {"results": [{"group": server.group, "error": {"reason": said}}]}
        assert judge_answer(server, answer).message.endswith(f"refuses the handshake{told}")


def test_the_allow_list_is_checked() -> None:
    """Pairs of namespaces; a bad one is named."""
    allowed = load({"on_demand_services": "shop=ml,*=platform"}, {}).on_demand_services
    assert {str(one) for one in allowed} == {"shop=ml", "*=platform"}
    for bad in ("shop", "shop=*", "Shop=ml"):
        with pytest.raises(SettingsInvalid, match="--on-demand-services"):
            load({"on_demand_services": bad}, {})


def test_ready_waits_for_the_feature_server() -> None:
    """Computed groups have one condition more, and Ready says what it says."""
    well = Finding("True", "Accepted")
    outcome = Outcome(generation=1, schema=well, table=well, ttl=well, published=well, on_demand=READY)
    found = {one["type"]: one for one in conditions(outcome, (), NOW)}
    assert (found["OnDemandReady"]["reason"], found["Ready"]["status"]) == ("ServerReady", "True")
    down = replace(outcome, on_demand=unreachable(a_server(), "gone"))
    found = {one["type"]: one for one in conditions(down, (), NOW)}
    assert (found["Ready"]["status"], found["Ready"]["reason"]) == ("False", "ServerUnreachable")
    assert found["ConfigPublished"]["status"] == "True"


async def shaken(server: FeatureServer, seconds: float = 5.0) -> str:
    at = {"scores.shop": Address(HOST, server.port)}
    async with Handshake(at, timeout_seconds=seconds) as handshake:
        return (await handshake.shake(a_server())).reason


async def redirect() -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/v1/features")


async def endless() -> web.StreamResponse:
    return web.Response(body=b" " * (MAX_ANSWER_BYTES + 1), content_type="application/json")


async def compressed() -> web.StreamResponse:
    headers = {"Content-Encoding": "gzip"}
    body = gzip.compress(b'{"results": [{"group": "score", "rows": []}]}')
    return web.Response(body=body, headers=headers, content_type="application/json")


async def a_page() -> web.StreamResponse:
    return web.Response(text="<p>welcome</p>", content_type="text/html")


async def half_an_answer() -> web.StreamResponse:
    return web.Response(body=b'{"results": [', content_type="application/json")


@pytest.mark.parametrize(
    ("instead", "reason"),
    [
        (redirect, "ServerRefuses"),
        (endless, "ServerGarbled"),
        (a_page, "ServerGarbled"),
        (compressed, "ServerGarbled"),
        (half_an_answer, "ServerGarbled"),
    ],
)
async def test_an_answer_is_bounded_and_no_redirect_is_followed(instead: Any, reason: str) -> None:
    """One request, of which no more is read than an answer can have."""
    async with a_feature_server(lambda _read: []) as server:
        server.instead = instead
        assert await shaken(server) == reason
        assert len(server.asked) == 1


async def test_a_server_that_hangs_is_waited_for_briefly() -> None:
    """It cannot be reached, as far as the operator can tell."""
    async with a_feature_server(lambda _read: []) as server:
        server.instead = never
        assert await shaken(server, 0.05) == "ServerUnreachable"


async def test_a_handshake_over_a_real_socket() -> None:
    """A read of no ids, by the schema; a server that is gone cannot be reached."""
    async with a_feature_server(lambda _read: []) as server:
        assert await shaken(server) == "ServerReady"
        assert server.asked[0]["ids"] == []
        assert server.asked[0]["schema_hash"] == a_server().schema_hash
    assert await shaken(server) == "ServerUnreachable"


SERVICE_PATH = "/api/v1/namespaces/shop/services/scores"
SLICES_PATH = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"


@contextlib.asynccontextmanager
async def a_watch(
    wire: Wire, folder: Path, server: FeatureServer
) -> AsyncIterator[tuple[ServerWatch, Woken]]:
    """A watch that looks often, and who it woke."""
    woken: Woken = asyncio.Queue()
    credentials = await find_credentials(wire.kubeconfig(folder), {})
    async with KubeApi(credentials, may_write=lambda: None) as api:
        shake = Handshake({"scores.shop": Address(HOST, server.port)})
        watch = ServerWatch(Services(api), shake, SystemClock(), woken.put_nowait, most_seconds=0.05)
        async with watch:
            yield watch, woken


async def test_a_look_without_the_right_to_look_says_which_one_it_is(tmp_path: Path) -> None:
    """Forbidden is told in the API server's words; once it is granted the server is ready."""
    key, refused = Key("shop", "scores"), {"reason": "Forbidden", "message": "cannot get services"}
    async with a_wire() as wire, a_feature_server(lambda _read: []) as server:
        wire.by_path[SERVICE_PATH] = (403, refused)
        wire.by_path[SLICES_PATH] = (200, {"metadata": {}, "items": [{"endpoints": [{}]}]})
        async with a_watch(wire, tmp_path, server) as (watch, woken):
            assert watch.finding(key, a_server(), None).reason == "NotSeenYet"
            assert await woken.get() == key
            found = watch.finding(key, a_server(), None)
            assert (found.status, found.reason) == ("Unknown", "ServiceUnreadable")
            assert found.message.endswith("cannot get services")
            wire.by_path[SERVICE_PATH] = (200, {"spec": {"ports": [{"port": 80}]}})
            assert await woken.get() == key
            assert watch.finding(key, a_server(), None) == READY


async def test_what_was_told_before_a_restart_stands_until_the_first_look(tmp_path: Path) -> None:
    """An API server that does not answer takes nothing back; another schema is another question."""
    key = Key("shop", "scores")
    async with a_wire() as wire, a_feature_server(lambda _read: []) as server:
        wire.by_path[SERVICE_PATH] = (500, {"message": "etcd"})
        async with a_watch(wire, tmp_path, server) as (watch, woken):
            assert watch.finding(key, a_server(), READY) == READY
            while len(wire.asked) < 2:  # noqa: ASYNC110 - tried again by the watch
                await asyncio.sleep(0.01)
            assert watch.finding(key, a_server(), None) == READY
            assert woken.empty()
            edited = a_server()._replace(schema_hash="another")
            assert watch.finding(key, edited, READY).reason == "NotSeenYet"
            watch.forget(key)
            assert repr(watch) == "<ServerWatch of 0 servers>"
