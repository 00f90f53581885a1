"""Computed groups with inputs beside a real Redis: their inputs use it, they themselves do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.builders import a_group
from tests.integration.feature_server import a_computed_group, a_feature_server, scored
from tests.integration.redis_commands import commands_of
from tests.integration.serving import serving, until

from pannier_sidecar.api.problems import RequestRefused


def _part(name: str, part: int) -> dict[str, Any]:
    source = {"group": "clicks", "features": ["item"], "idFrom": "IdPart", "part": part}
    return {"name": name, **source}


@pytest.mark.redis
async def test_a_group_with_inputs_leaves_no_command_of_its_own(tmp_path: Path, redis_url: str) -> None:
    """Redis and L3 hear of the rows that it reads, and never of it, its ids or what it computed."""
    pair = a_computed_group("secret", on_demand={"inputs": [_part("left", 0), _part("right", 1)]})
    async with commands_of(redis_url) as commands, a_feature_server(scored) as server:
        with capture_logs() as logs:
            async with serving(
                tmp_path,
                a_group(),
                pair,
                redis_url=redis_url,
                listen_url=redis_url,
                feature_servers=server.services,
            ) as core:
                await core.write("clicks", "home", features={"item": "x"})
                for _ in range(2):
                    row = await core.row("secret", "home:whose")
                    assert (row["status"], row["source"]) == ("found", "on_demand")
                verdict = await core.write("secret", "home:whose", features={"score": 1})
                assert verdict.verdict == "invalid"
                with pytest.raises(RequestRefused, match="ever cached"):
                    await core.writes.invalidate(core.plan, "secret", ["home:whose"])
                await core.settle()
        # inputs did reach Redis: else silence about the group would show nothing
        await until(lambda: any("clicks" in command and "whose" in command for command in commands))
    text = "\n".join(commands) + str(logs)
    for word in ("secret", "home:whose", "score"):
        assert word not in text, word
    assert {group for group, _, _ in core.store.reads} == {"clicks"}
    assert len(server.asked) == 2
