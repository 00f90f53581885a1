"""The admin port says what is wrong, in words, to whoever decides about a restart."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.servers import HOST

from pannier.option_values import Address
from pannier_operator.admin import Admin
from pannier_operator.errors import CannotStart
from pannier_operator.metrics import CONTENT_TYPE, Metrics


class Health:
    """What the two judges say."""

    live: str | None = None
    ready: str | None = None


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def admin(health: Health) -> AsyncIterator[Admin]:
    async with Admin(
        Address(HOST, 0), Metrics(), live=lambda: health.live, ready=lambda: health.ready
    ) as served:
        yield served


async def ask(admin: Admin, path: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{admin.url}{path}") as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


@pytest.mark.parametrize(("path", "judge"), [("/livez", "live"), ("/readyz", "ready")])
async def test_each_judge_answers_at_its_path(admin: Admin, health: Health, path: str, judge: str) -> None:
    """It is asked every time, and its reason is the answer; the other one's is not."""
    assert (await ask(admin, path))[:2] == (200, "ok\n")
    setattr(health, judge, "the watch brings no events")
    assert (await ask(admin, path))[:2] == (503, "the watch brings no events\n")
    other = {"/livez": "/readyz", "/readyz": "/livez"}[path]
    assert (await ask(admin, other))[0] == 200
    setattr(health, judge, None)
    assert (await ask(admin, path))[0] == 200


async def test_metrics_are_served_while_it_is_unwell(admin: Admin, health: Health) -> None:
    """In the format that Prometheus names: when something is wrong they are needed most."""
    health.live = health.ready = "stuck"
    status, text, content = await ask(admin, "/metrics")
    assert (status, content) == (200, CONTENT_TYPE)
    assert "# TYPE pannier_operator_reconciles_total counter" in text


@pytest.mark.parametrize("path", ["/", "/livez/", "/debug", "/metrics/x"])
async def test_there_is_nothing_else(admin: Admin, path: str) -> None:
    """Health and metrics, and no more."""
    assert (await ask(admin, path))[0] == 404


async def test_an_address_that_is_taken_is_named() -> None:
    """The operator does not begin without its health; the message names flag and address."""
    with socket.socket() as holder:
        holder.bind((HOST, 0))
        holder.listen()
        address = Address(HOST, holder.getsockname()[1])
        with pytest.raises(CannotStart, match=rf"--admin .*{address.port}"):
            async with Admin(address, Metrics(), live=lambda: None, ready=lambda: None):
                pass


async def test_nothing_answers_once_it_is_closed(health: Health) -> None:
    """Its port is free again."""
    async with Admin(Address(HOST, 0), Metrics(), live=lambda: None, ready=lambda: None) as served:
        assert (await ask(served, "/livez"))[0] == 200
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(served, "/livez")
