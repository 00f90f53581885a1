"""Requests to the API server as they are on the wire, and what becomes of each answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.operator.api_server_on_the_wire import Wire, a_wire

from pannier_operator.errors import KubeFault, LeadershipLost
from pannier_operator.kube import api_client
from pannier_operator.kube.api_client import METADATA_ONLY, KubeApi
from pannier_operator.kube.credentials import find_credentials

PATH = "/api/v1/namespaces/team/configmaps/pannier-catalog"
WRITES: dict[str, Callable[[KubeApi], Any]] = {
    "apply": lambda api: api.apply(PATH, {"data": {}}),
    "merge": lambda api: api.merge(PATH, {"data": {}}),
    "create": lambda api: api.create(PATH, {"data": {}}),
    "replace": lambda api: api.replace(PATH, {"data": {}}),
    "delete": lambda api: api.delete(PATH),
}


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    async with a_wire() as served:
        yield served


@contextlib.asynccontextmanager
async def an_api(
    wire: Wire, folder: Path, may_write: Callable[[], None] = lambda: None
) -> AsyncIterator[tuple[KubeApi, list[tuple[str, str]]]]:
    counted: list[tuple[str, str]] = []
    credentials = await find_credentials(wire.kubeconfig(folder), {})
    async with KubeApi(
        credentials, may_write=may_write, count=lambda verb, code: counted.append((verb, code))
    ) as api:
        yield api, counted


async def test_fields_are_applied_as_ours(wire: Wire, tmp_path: Path) -> None:
    """Server-side apply: its content type, our name, by force, with the token."""
    wire.answers = [(200, {"metadata": {"name": "x"}})]
    async with an_api(wire, tmp_path) as (api, counted):
        assert await api.apply(f"{PATH}/status", {"status": {"a": [1, {"b": None}]}}) == {
            "metadata": {"name": "x"}
        }
    (asked,) = wire.asked
    assert (asked.verb, asked.path) == ("PATCH", f"{PATH}/status")
    assert asked.query == {"fieldManager": "pannier-operator", "force": "true"}
    assert asked.body == {"status": {"a": [1, {"b": None}]}}
    assert asked.headers["Content-Type"] == "application/apply-patch+yaml"
    assert asked.headers["Authorization"] == "Bearer hush"
    assert asked.headers["User-Agent"] == "pannier-operator"
    assert counted == [("PATCH", "200")]


@pytest.mark.parametrize(
    ("name", "verb", "content"),
    [
        ("merge", "PATCH", "application/merge-patch+json"),
        ("create", "POST", "application/json"),
        ("replace", "PUT", "application/json"),
    ],
)
async def test_other_writes_name_their_manager(
    wire: Wire, tmp_path: Path, name: str, verb: str, content: str
) -> None:
    """Merge, create and replace carry our name, and nothing is forced."""
    async with an_api(wire, tmp_path) as (api, _):
        await WRITES[name](api)
    (asked,) = wire.asked
    assert (asked.verb, asked.headers["Content-Type"]) == (verb, content)
    assert asked.query == {"fieldManager": "pannier-operator"}
    assert asked.body == {"data": {}}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504])
async def test_a_refusal_is_told_in_the_servers_words_and_not_tried_again(
    wire: Wire, tmp_path: Path, status: int
) -> None:
    """Status, reason and message come through; the queue decides on another try, not the client."""
    wire.answers = [(status, {"kind": "Status", "reason": "SomeReason", "message": "in words"})]
    async with an_api(wire, tmp_path) as (api, counted):
        for call in (api.get, lambda path: api.apply(path, {})):
            with pytest.raises(KubeFault) as caught:
                await call(PATH)
            fault = caught.value
            assert (fault.status, fault.reason, fault.message) == (status, "SomeReason", "in words")
            assert (fault.is_missing, fault.is_conflict) == (status == 404, status == 409)
    assert len(wire.asked) == 2
    assert counted == [("GET", str(status)), ("PATCH", str(status))]


@pytest.mark.parametrize(("status", "reason"), [(502, "BadGateway"), (599, "Refused"), (200, "NoJSON")])
async def test_a_proxy_in_between_that_answers_no_json_is_told_as_well(
    wire: Wire, tmp_path: Path, status: int, reason: str
) -> None:
    """A load balancer's page becomes a fault with its first words, whatever status it gives."""
    wire.answers = [(status, b"<html>not an object \xff</html>"), (status, [])]
    async with an_api(wire, tmp_path) as (api, _):
        for words in ("<html>not an object", ""):
            with pytest.raises(KubeFault, match=f"{reason}: {words}") as caught:
                await api.get(PATH)
            assert caught.value.status == status


async def test_a_server_that_does_not_answer_is_a_fault_without_status(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, hung up on, or silent for too long: each names the request."""
    monkeypatch.setattr(api_client, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    async with an_api(wire, tmp_path) as (api, counted):
        wire.hangs_up = True
        with pytest.raises(KubeFault, match=f"NoAnswer: PATCH {PATH}: "):
            await api.apply(PATH, {})
        wire.open.clear()
        with pytest.raises(KubeFault, match=f"NoAnswer: GET {PATH}: "):
            await api.get(PATH)
        assert counted == [("PATCH", "NoAnswer"), ("GET", "NoAnswer")]
    wire.url = "http://127.0.0.1:1"
    async with an_api(wire, tmp_path) as (api, _):
        with pytest.raises(KubeFault, match="NoAnswer") as caught:
            await api.get(PATH)
    assert caught.value.status == 0


async def test_lists_come_page_by_page(wire: Wire, tmp_path: Path) -> None:
    """Continue tokens return as they came, whatever is in them; none at all may be null; too old is 410."""
    token = "a+b/c=&%20?ü"
    wire.answers = [
        (200, {"metadata": {"continue": token}, "items": [{"n": 1}, {"n": 2}]}),
        (200, {"metadata": {}, "items": [{"n": 3}]}),
        (200, {"metadata": {}, "items": None}),
        (200, {"metadata": {"continue": "x"}, "items": [{"n": 4}]}),
        (410, {"reason": "Expired", "message": "too old"}),
    ]
    params = {"fieldSelector": "metadata.name=pannier-catalog"}
    async with an_api(wire, tmp_path) as (api, _):
        found = [item["n"] async for item in api.items(PATH, params, accept=METADATA_ONLY)]
        assert found == [1, 2, 3]
        assert [asked.query for asked in wire.asked] == [
            {**params, "limit": "200"},
            {**params, "limit": "200", "continue": token},
        ]
        assert {asked.headers["Accept"] for asked in wire.asked} == {METADATA_ONLY}
        assert [item async for item in api.items(PATH)] == []
        with pytest.raises(KubeFault) as caught:
            [item async for item in api.items(PATH)]
    assert caught.value.status == 410


async def test_what_is_gone_already_is_deleted(wire: Wire, tmp_path: Path) -> None:
    """404 to a deletion is what was wanted; anything else is not."""
    wire.answers = [(404, {}), (403, {})]
    async with an_api(wire, tmp_path) as (api, _):
        await api.delete(PATH)
        with pytest.raises(KubeFault):
            await api.delete(PATH)


@pytest.mark.parametrize("name", WRITES)
async def test_without_the_lease_no_write_leaves_the_process(wire: Wire, tmp_path: Path, name: str) -> None:
    """Every mutating request is stopped before it is sent; reads are not."""

    def may_not() -> None:
        raise LeadershipLost("the Lease is another's")

    async with an_api(wire, tmp_path, may_not) as (api, _):
        with pytest.raises(LeadershipLost):
            await WRITES[name](api)
        assert wire.asked == []
        await api.get(PATH)
        assert len(wire.asked) == 1


async def test_a_write_that_had_to_wait_asks_for_the_lease_when_its_turn_comes(
    wire: Wire, tmp_path: Path
) -> None:
    """All connections busy: a write that waited is checked after the wait, not before."""
    leads = True

    def may_write() -> None:
        if not leads:
            raise LeadershipLost("the Lease is another's")

    wire.open.clear()
    async with an_api(wire, tmp_path, may_write) as (api, _):
        reads = [asyncio.create_task(api.get(PATH)) for _ in range(api_client._CONNECTIONS)]
        async with asyncio.timeout(20):
            while len(wire.asked) < len(reads):  # noqa: ASYNC110 - it is the server that sees them
                await asyncio.sleep(0.01)
        write = asyncio.create_task(api.apply(PATH, {}))
        await asyncio.sleep(0)
        leads = False
        wire.open.set()
        await asyncio.gather(*reads)
        with pytest.raises(LeadershipLost):
            await write
    assert {asked.verb for asked in wire.asked} == {"GET"}
