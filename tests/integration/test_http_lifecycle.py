"""A sidecar as a process and its sockets: starting, probes, following a catalog, stopping in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from structlog.testing import capture_logs
from tests.servers import HOST
from tests.sidecars import RECORDS, TIMELINE, a_sidecar

from pannier.catalog_rendering import render
from pannier.errors import SpecInvalid
from pannier.options import SettingsInvalid
from pannier_sidecar.app import build
from pannier_sidecar.settings import load
from pannier_sidecar.specs import catalog_from_directory

CANNOT_START = 7


def specs_in(directory: Path, *manifests: dict[str, Any]) -> Path:
    specs = directory / "specs"
    specs.mkdir(exist_ok=True)
    for manifest in manifests:
        (specs / f"{manifest['metadata']['name']}.yaml").write_text(yaml.safe_dump(manifest))
    return specs


@dataclass(slots=True)
class ServeProcess:
    """``pannier serve`` as a child process."""

    process: asyncio.subprocess.Process
    data: str = ""
    admin: str = ""

    async def announced(self) -> None:
        """Wait for the line that tells the addresses."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            line = (await self.process.stdout.readline()).decode()
        found = re.fullmatch(r"serving data=(\S+) admin=(\S+)\n", line)
        assert found, line + (await self.errors())
        self.data, self.admin = found[1], found[2]

    async def errors(self) -> str:
        """What it logged; only once it has ended."""
        assert self.process.stderr is not None
        async with asyncio.timeout(30):
            return (await self.process.stderr.read()).decode()


@contextlib.asynccontextmanager
async def serving(*flags: str, **env: str) -> AsyncIterator[ServeProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pannier_cli",
        "serve",
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
    )
    try:
        yield ServeProcess(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def flags(directory: Path, **more: str) -> list[str]:
    given = {
        "specs": str(specs_in(directory, RECORDS)),
        "data-dir": str(directory / "data"),
        "http": f"{HOST}:0",
        "admin": f"{HOST}:0",
        **more,
    }
    return [part for name, value in given.items() for part in (f"--{name}", value)]


async def test_it_serves_until_sigterm_and_exits_with_0(tmp_path: Path) -> None:
    """The process tells its ports on stdout, logs JSON on stderr, and ends cleanly when told to."""
    async with serving(*flags(tmp_path)) as sidecar, aiohttp.ClientSession() as session:
        await sidecar.announced()
        async with session.get(f"{sidecar.data}/v1/groups") as answer:
            assert (await answer.json())["groups"][0]["group"] == "user_facts"
        async with session.get(f"{sidecar.admin}/readyz") as answer:
            assert (answer.status, (await answer.json())["ready"]) == (200, True)
        sidecar.process.send_signal(signal.SIGTERM)
        logged = [json.loads(line) for line in (await sidecar.errors()).splitlines()]
        async with asyncio.timeout(10):
            assert await sidecar.process.wait() == 0
    events = [record["event"] for record in logged]
    assert events == ["catalog_adopted", "serving", "stopping", "stopped"]
    assert not {"added", "removed"} & logged[0].keys()  # nothing was there before


async def test_a_terminal_is_told_once_where_it_serves(tmp_path: Path) -> None:
    """There the log line says it; the plain line is for whoever reads standard output."""
    terminal, end = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pannier_cli", "serve", *flags(tmp_path), stdout=end, stderr=end
    )
    os.close(end)
    shown = b""
    async with asyncio.timeout(30):
        while b"serving" not in shown:
            shown += await asyncio.to_thread(os.read, terminal, 65_536)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while more := await asyncio.to_thread(os.read, terminal, 65_536):
                shown += more
        assert await process.wait() == 0
    os.close(terminal)
    assert shown.count(b"serving") == 1
    assert b"None" not in shown


async def test_a_request_under_way_is_finished_before_the_end(
    tmp_path: Path, aws_credentials: dict[str, str]
) -> None:
    """SIGTERM while a read waits for a hanging DynamoDB: the answer comes, then the process ends."""
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if b"BatchGetItem" in data:
                    asked.set()
        writer.close()

    dynamodb = await asyncio.start_server(hang, HOST, 0)
    port = dynamodb.sockets[0].getsockname()[1]
    more = {"store": "dynamodb", "dynamodb-endpoint-url": f"http://{HOST}:{port}"}
    more |= {"request-timeout-ms": "1500", "l3-timeout-ms": "1500"}
    async with (
        dynamodb,
        serving(*flags(tmp_path, **more), **aws_credentials) as sidecar,
        aiohttp.ClientSession() as session,
    ):
        await sidecar.announced()
        body = {"reads": [{"group": "user_facts", "ids": ["1"]}]}
        reading = asyncio.create_task(session.post(f"{sidecar.data}/v1/features/read", json=body))
        async with asyncio.timeout(10):
            await asked.wait()
        sidecar.process.send_signal(signal.SIGTERM)
        async with await reading as answer:
            assert answer.status == 200
            assert (await answer.json())["results"][0]["rows"][0]["status"] == "unknown"
        await sidecar.errors()
        async with asyncio.timeout(15):
            assert await sidecar.process.wait() == 0


async def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    """The message names the address and a way out; the exit code says that nothing was served."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        address = f"{HOST}:{taken.getsockname()[1]}"
        async with serving(*flags(tmp_path, http=address)) as sidecar:
            logged = await sidecar.errors()
            assert await sidecar.process.wait() == CANNOT_START
    assert f"cannot listen on {address}" in logged
    assert "Traceback" not in logged


async def test_every_bad_setting_is_in_one_message(tmp_path: Path) -> None:
    """A process with several wrong settings names all of them and does not start."""
    given = flags(tmp_path, http="0.0.0.0:8470", **{"l1-bytes": "much"})
    async with serving(*given, PANNIER_REDIS_URL="hunter2") as sidecar:
        logged = await sidecar.errors()
        assert await sidecar.process.wait() == CANNOT_START
    for name in ("--http", "--l1-bytes", "PANNIER_REDIS_URL"):
        assert name in logged
    assert "hunter2" not in logged


async def test_bad_manifests_stop_the_start_with_file_and_line(tmp_path: Path) -> None:
    """A directory with a broken group serves nothing, and says where to look."""
    (specs_in(tmp_path, RECORDS) / "broken.yaml").write_text("kind: FeatureGroup\nspec: [\n")
    async with serving(*flags(tmp_path)) as sidecar:
        logged = await sidecar.errors()
        assert await sidecar.process.wait() == CANNOT_START
    assert "broken.yaml" in logged
    assert "Traceback" not in logged


async def test_a_missing_directory_stops_the_start(tmp_path: Path) -> None:
    """--specs that is not there is an error, not an empty catalog."""
    settings = load({"specs": str(tmp_path / "gone"), "data_dir": str(tmp_path / "d")}, {})
    with pytest.raises(SpecInvalid, match="gone"):
        async with build(settings):
            pass


@pytest.mark.parametrize("query", ["socket_timeout=soon", "no_such_option=1"])
async def test_unusable_options_of_a_redis_url_stop_the_start(tmp_path: Path, query: str) -> None:
    """What the client would refuse at its first call is told before anything is served."""
    url = f"redis://:hunter2@127.0.0.1:1/0?{query}"
    with pytest.raises(SettingsInvalid, match="--redis-url: no Redis client from this URL") as invalid:
        async with a_sidecar(tmp_path, redis_url=url):
            pass
    assert "hunter2" not in str(invalid.value)


async def test_an_unusable_data_directory_stops_the_start(tmp_path: Path) -> None:
    """The embedded store's directory being a file, or owned by another sidecar, is said as a bad setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsInvalid, match="--data-dir"):
        async with a_sidecar(tmp_path, data_dir=str(tmp_path / "file")):
            pass
    async with a_sidecar(tmp_path):
        with pytest.raises(SettingsInvalid, match="--data-dir"):
            async with a_sidecar(tmp_path):
                pass


async def test_a_mounted_catalog_is_followed(tmp_path: Path) -> None:
    """Without a catalog it is alive but not ready; one that appears is served, a newer one takes over."""
    mount = tmp_path / "catalog"
    mount.mkdir()
    with capture_logs() as logs:
        async with a_sidecar(tmp_path, specs=None, catalog=str(mount)) as client:
            assert (await client.admin("/livez")).status == 200
            assert (await client.admin("/readyz")).status == 503
            early = await client.read({"group": "user_facts", "ids": ["1"]})
            assert (early.status, early.reason) == (503, "NotReady")
            assert (await client.send("GET", "/v1/groups")).status == 503
            _mount(mount, tmp_path, 5, RECORDS)
            await _served(client, 5)
            assert (await client.admin("/readyz")).status == 200
            assert (await client.rows("user_facts", "1"))[0]["status"] == "missing"
            (mount / "groups-000.json").write_text("{}")
            _touch_manifest(mount, 6)
            await _degraded(client, "catalog")
            assert (await client.rows("user_facts", "1"))[0]["status"] == "missing"
            _mount(mount, tmp_path, 7, RECORDS, TIMELINE)
            await _served(client, 7)
            assert (await client.rows("clicks", "1"))[0]["status"] == "missing"
            status = (await client.admin("/v1/status")).json
            assert (status["catalog"]["kind"], status["catalog"]["problems"]) == ("catalog", [])
    adopted = [entry["revision"] for entry in logs if entry["event"] == "catalog_adopted"]
    assert adopted == [5, 7]


def _mount(mount: Path, scratch: Path, revision: int, *manifests: dict[str, Any]) -> None:
    catalog = catalog_from_directory(specs_in(scratch, *manifests), revision=revision)
    for name, text in render(catalog).items():
        (mount / name).write_text(text)


def _touch_manifest(mount: Path, revision: int) -> None:
    (manifest,) = [file for file in mount.iterdir() if not file.name.startswith("groups-")]
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, "revision": revision}))


async def _served(client: Any, revision: int) -> None:
    async with asyncio.timeout(10):
        while (await client.admin("/v1/status")).json["catalog"]["revision"] != revision:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _degraded(client: Any, part: str) -> None:
    async with asyncio.timeout(10):
        while part not in {n["part"] for n in (await client.admin("/readyz")).json["degraded"]}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_stopping_is_told_to_probes(tmp_path: Path) -> None:
    """While it drains, /readyz is 503 and says stopping; /livez stays 200 to the end."""
    async with a_sidecar(tmp_path) as client:
        status = client.sidecar.status
        assert status.readiness() == {"ready": True, "phase": "serving", "degraded": []}
        kept = status
    assert kept.readiness()["ready"] is False
    assert kept.readiness()["phase"] == "stopping"


async def test_status_tells_tiers_limits_and_groups(tmp_path: Path) -> None:
    """One document for people: catalog, tiers, limits, and each group with its policy and L1 share."""
    async with a_sidecar(tmp_path, l1_bytes="64MiB") as client:
        await client.rows("user_facts", "1")
        status = (await client.admin("/v1/status")).json
        assert status["limits"] == {
            "reads": 100,
            "ids_per_read": 1000,
            "rows": 5000,
            "writes": 500,
            "body_bytes": 8 * 1024 * 1024,
        }
        assert status["tiers"]["l1"]["limit_bytes"] == 64 * 1024 * 1024
        assert status["tiers"]["l1"]["entries"] == 1
        assert status["tiers"]["l2"] == {
            "enabled": False,
            "url": None,
            "circuit": None,
            "last_error": None,
            "errors": {},
        }
        assert status["backfill"] is None
        assert status["invalidation"] is None
        samples = (await client.admin("/metrics")).body.decode().splitlines()
        assert not any(line.startswith("pannier_invalidation_listening ") for line in samples)
        groups = {group["group"]: group for group in status["groups"]}
        assert groups["user_facts"]["l1"]["entries"] == 1
        assert groups["clicks"]["policy"]["remote"]["hardTTLSeconds"] > 0


async def test_metrics_count_what_was_served(tmp_path: Path, redis_url: str) -> None:
    """Rows by outcome, writes by verdict, problems by reason, the backfill queue: all in one scrape."""
    async with a_sidecar(tmp_path, redis_url=redis_url) as client:
        await client.until_listening()
        await client.rows("user_facts", "gone")
        await client.rows("user_facts", "gone")
        await client.write({"group": "user_facts", "id": "1", "features": {"visits": 1}})
        await client.rows("user_facts", "1", "1")
        await client.read({"group": "nope", "ids": ["1"]})
        await client.send("GET", "/nowhere")
        answer = await client.admin("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.body.decode()
    for sample in (
        'pannier_rows_read_total{group="user_facts",outcome="missing"} 1.0',
        'pannier_rows_read_total{group="user_facts",outcome="negative"} 1.0',
        'pannier_rows_read_total{group="user_facts",outcome="l1"} 2.0',
        'pannier_l3_missing_total{group="user_facts"} 1.0',
        'pannier_writes_total{group="user_facts",verdict="written"} 1.0',
        'pannier_problems_total{reason="UnknownGroup"} 1.0',
        'pannier_problems_total{reason="UnknownRoute"} 1.0',
        'pannier_tier_circuit_state{state="closed",tier="l2"} 1.0',
        "pannier_backfill_queue_entries ",
        'pannier_l1_entries{group="user_facts"} 2.0',
        'pannier_load_duration_seconds_count{group="user_facts",tier="l3"}',
        "pannier_catalog_groups 2.0",
    ):
        assert sample in text, sample
