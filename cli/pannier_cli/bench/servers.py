"""The servers that benches start: this sidecar, the bare handler, Redis, Feast and the DynamoDB emulators."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import yaml

from pannier_cli.bench.binaries import find_dynamodb_local, find_program
from pannier_cli.bench.children import HOST, Child, free_port, http_status, redis_says_pong
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed

Cores = frozenset[int] | None
FEAST_OPTIONS: Final[Mapping[str, Sequence[str]]] = {
    "feast": (),
    "feast, tuned": ("--no-access-log", "--max-requests", "0"),
}
"""Feast as ``feast serve`` runs it, replacing its worker after every thousand requests; and at its best."""
EMULATOR_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""The emulators accept any; with these no client looks for others on the network."""


@dataclass
class SidecarChild(Child):
    """This sidecar as ``pannier serve`` runs it; ``admin_port`` has its metrics."""

    admin_port: int = 0


def sidecar(
    directory: Path, manifests: Sequence[Mapping[str, Any]], flags: Sequence[str], cores: Cores
) -> SidecarChild:
    """Serve the manifests with further flags of ``pannier serve``."""
    specs = directory / "specs"
    specs.mkdir(parents=True)
    for manifest in manifests:
        (specs / f"{manifest['metadata']['name']}.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    port, admin_port = free_port(), free_port()
    addresses = ["--http", f"{HOST}:{port}", "--admin", f"{HOST}:{admin_port}"]
    quiet = ["--log-level", "warning", "--log-format", "json"]
    serve = [sys.executable, "-m", "pannier_cli", "serve", "--specs", str(specs)]
    return SidecarChild(
        "sidecar",
        [*serve, *addresses, *quiet, *flags],
        directory,
        port,
        lambda: http_status(admin_port, "/readyz") == HTTPStatus.OK,
        cores,
        EMULATOR_CREDENTIALS if "dynamodb" in flags else {},
        admin_port=admin_port,
    )


def bare(directory: Path, bodies: Mapping[str, bytes], cores: Cores) -> Child:
    """Answer constant bytes by name with nothing but aiohttp."""
    files = directory / "bodies"
    files.mkdir(parents=True)
    for name, body in bodies.items():
        (files / name).write_bytes(body)
    port = free_port()
    command = [sys.executable, "-m", "pannier_cli.bench.bare", str(port), str(files)]
    return Child("bare", command, directory, port, lambda: http_status(port, "/") > 0, cores)


def forwarder(directory: Path, url: str, cores: Cores) -> Child:
    """Pass requests on to another server with nothing but aiohttp."""
    port = free_port()
    command = [sys.executable, "-m", "pannier_cli.bench.bare", str(port), url]
    return Child("forwarder", command, directory, port, lambda: http_status(port, "/") > 0, cores)


def redis(directory: Path, cores: Cores) -> Child:
    """Run Redis without persistence."""
    port = free_port()
    options = {"--port": str(port), "--bind": HOST, "--save": "", "--appendonly": "no"}
    command = [find_program("redis-server"), *(part for pair in options.items() for part in pair)]
    return Child("redis", command, directory, port, lambda: redis_says_pong(port), cores)


def dynoxide(directory: Path, cores: Cores, source: Path) -> Child:
    """Run dynoxide in memory, filled with ``export/`` and ``schema.json`` of the source directory."""
    port = free_port()
    rows = ["--source", str(source / "export"), "--schema", str(source / "schema.json")]
    command = [find_program("dynoxide"), "import", *rows, "--serve", "--host", HOST, "--port", str(port)]
    return Child("dynoxide", command, directory, port, lambda: http_status(port, "/") > 0, cores)


def empty_dynoxide(directory: Path, cores: Cores) -> Child:
    """Run dynoxide in memory, without a table."""
    port = free_port()
    command = [find_program("dynoxide"), "serve", "--host", HOST, "--port", str(port)]
    return Child("dynoxide", command, directory, port, lambda: http_status(port, "/") > 0, cores)


def dynamodb_local(directory: Path, cores: Cores) -> Child:
    """Run AWS's emulator in memory, with enough room for the rows of the mixed bench."""
    jars = find_dynamodb_local()
    port = free_port()
    java = [find_program("java"), "-Xmx3g", f"-Djava.library.path={jars}", "-cp", f"{jars}/*"]
    main = ["com.amazonaws.services.dynamodbv2.local.main.ServerRunner", "-inMemory", "-sharedDb"]
    command = [*java, *main, "-disableTelemetry", "-port", str(port)]
    return Child("dynamodb-local", command, directory, port, lambda: http_status(port, "/") > 0, cores)


def load_feast(directory: Path, python: str, redis_port: int, groups: Sequence[Mapping[str, Any]]) -> None:
    """Make a feature repository in ``directory`` and write its rows to Redis."""
    directory.mkdir(parents=True)
    document = {"directory": str(directory), "redis": f"{HOST}:{redis_port}", "groups": groups}
    script = Path(__file__).with_name("feast_rows.py")
    done = subprocess.run(  # noqa: S603 (this package's own script)
        [python, "-W", "ignore", str(script)],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        check=False,
        env=_feast_environment(directory),
    )
    if done.returncode != 0:
        raise CommandFailed(
            f"Feast took no rows:\n{done.stderr.strip()[-2000:]}", exit_code=ExitCode.CANNOT_START
        )


def feast(repository: Path, python: str, name: str, cores: Cores) -> Child:
    """Run ``feast serve`` with one worker for one core and the options of `FEAST_OPTIONS`."""
    port = free_port()
    program = [str(Path(python).with_name("feast")), "-c", str(repository), "serve", "--workers", "1"]
    directory = repository.with_name(name.replace(", ", "-"))
    return Child(
        directory.name,
        [*program, "--host", HOST, "--port", str(port), *FEAST_OPTIONS[name]],
        directory,
        port,
        lambda: http_status(port, "/health") == HTTPStatus.OK,
        cores,
        _feast_environment(directory),
    )


def _feast_environment(directory: Path) -> dict[str, str]:
    # HOME: gunicorn keeps a control socket there; usage statistics would leave the machine
    return {"PATH": "/usr/bin:/bin", "HOME": str(directory), "FEAST_USAGE": "False"}
