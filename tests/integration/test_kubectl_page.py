"""docs/operations/kubectl.md shows what kubectl prints: each command of it is run, in order, and compared.

``pytest tests/integration/test_kubectl_page.py --write-pages`` (`make kubectl-page`) writes the page anew.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from tests.control_plane import ApiServer
from tests.integration.operator_cluster import Cluster, a_cluster, an_operator
from tests.servers import ROOT, ServerFailed

pytestmark = [
    pytest.mark.dynamodb,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("aws_credentials"),
]
PAGE = ROOT / "docs" / "operations" / "kubectl.md"
NAMESPACE = "reco"
_BLOCK = re.compile(r"```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```\n", re.DOTALL)
_VARYING = (
    (re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z"), "2026-01-01T00:00:00Z"),
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "00000000-0000-0000-0000-000000000000"),
    (re.compile(r"(?<=Resource Version:    )\d+"), "1000"),
    (re.compile(r"\b1[789]\d{11}\b"), "1767225600000"),
    (re.compile(r"(?<= )\d+m?\d*s$", re.MULTILINE), "12s"),
)
"""Dates, uids, versions, catalog revisions (milliseconds) and ages, each with what stands for it."""


async def printed(cluster: Cluster, command: str) -> str:
    """What a command prints, errors too, with what varies replaced."""
    program, *arguments = shlex.split(command)
    assert program == "kubectl", command
    try:
        text = await asyncio.to_thread(cluster.api.kubectl, *arguments, folder=ROOT)
    except ServerFailed as failed:
        text = str(failed).removeprefix(f"kubectl {' '.join(arguments)}: ")
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


async def test_the_page_shows_what_kubectl_prints(
    own_api_server: ApiServer, dynoxide_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A team reads there what it will see."""
    page = PAGE.read_text(encoding="utf-8")
    tables = tmp_path / "tables.yaml"
    tables.write_text("- name: features-online\n", encoding="utf-8")
    shown: dict[str, str] = {}
    async with (
        a_cluster(own_api_server, dynoxide_url, NAMESPACE) as cluster,
        an_operator(cluster, shared_tables=str(tables), cluster_id="production"),
    ):
        for block in _BLOCK.finditer(page):
            shown[block["command"]] = await printed(cluster, block["command"])
            if " patch " in block["command"]:
                await cluster.ready("user-keywords")
    written = _BLOCK.sub(lambda block: f"```console\n$ {block[1]}\n{shown[block[1]]}```\n", page)
    if request.config.getoption("--write-pages"):
        PAGE.write_text(written, encoding="utf-8")
    assert shown
    assert PAGE.read_text(encoding="utf-8") == written
