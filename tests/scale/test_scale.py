"""Scenario 20, short: an operator with many groups stays small, spends no call too many, loses no edit."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.control_plane import ApiServer
from tests.scale.figures import RSS_MIB
from tests.scale.population import Size
from tests.scale.run import run
from tests.servers import Dynoxide

pytestmark = [
    pytest.mark.slow,
    pytest.mark.dynamodb,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("aws_credentials"),
]
SIZE = Size(groups=80, namespaces=8, dedicated=3, edits_per_second=20, seconds=6)


async def test_20_many_groups_and_a_stream_of_edits(own_api_server: ApiServer, tmp_path: Path) -> None:
    """Each edit is in a catalog, a restart writes nothing, nothing is refused; speed is for the long run."""
    with Dynoxide() as dynoxide:
        figures = await run(SIZE, own_api_server, dynoxide.url, tmp_path, print)
    assert len(figures.delays) == SIZE.edits
    assert (figures.missing, figures.behind, figures.restart_writes) == (0, 0, 0)
    assert figures.refusals == []
    assert figures.overspent <= 0
    assert figures.rss_mib < RSS_MIB
