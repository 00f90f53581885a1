"""What has come to its end is not shown, in whatever form it is held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.builders import a_group
from tests.integration.serving import serving

NO_L2: dict[str, Any] = {"remote": "Disabled"}


async def test_a_kept_answer_with_more_records_than_the_default_ends_with_the_first_of_them(
    tmp_path: Path,
) -> None:
    """The default question shows one record, a client asks for three: the third expires, then the second."""
    fields: dict[str, Any] = {"retention": 100, "retention_basis": "EventTime", "default_limit": 1}
    group = a_group("trips", timeline=True, soft=500, hard=900, early_factor=1.0, **fields, **NO_L2)
    async with serving(tmp_path, group) as core:
        now = core.clock.now_us() // 1_000_000
        for ago in (0, 50, 90):
            await core.write("trips", "a", timestamp=now - ago, features={"item": "x"})
        for after, shown in ((0, 3), (9, 3), (2, 2), (38, 2), (2, 1), (48, 1)):
            core.clock.advance(after)
            for limit in (3, 3, None):
                row = await core.row("trips", "a", explain=False, limit=limit)
                assert len(row["records"]) == min(limit or 1, shown), (after, limit)
        assert len(core.store.reads) == 1


async def test_a_kept_answer_gives_its_bytes_back_when_it_ends(tmp_path: Path) -> None:
    """L1 counts the other shape's row only as long as it is there."""
    fields: dict[str, Any] = {"retention": 100, "retention_basis": "EventTime", "default_limit": 1}
    async with serving(tmp_path, a_group("trips", timeline=True, soft=500, hard=900, **fields)) as core:
        now = core.clock.now_us() // 1_000_000
        for ago in (0, 50, 90):
            await core.write("trips", "a", timestamp=now - ago, features={"item": "x"})
        await core.row("trips", "a", explain=False)
        before = core.l1.bytes
        await core.row("trips", "a", explain=False, limit=3)
        assert core.l1.bytes > before
        core.clock.advance(11)
        await core.row("trips", "a", explain=False)
        assert core.l1.bytes == before


async def test_a_stale_answer_stays_stale_under_another_policy(tmp_path: Path) -> None:
    """A catalog that arrives during an outage gives what is served stale no second life."""
    one, two = (
        a_group(schema_hash="1", soft=soft, hard=60, stale_if_error=1_000, **NO_L2) for soft in (10, 11)
    )
    async with serving(tmp_path, one) as core:
        await core.write("clicks", "a", features={"item": "x"})
        core.clock.advance(100)
        core.store.fail()
        assert (await core.row("clicks", "a"))["stale"] is True
        core.deploy(two)
        assert (await core.row("clicks", "a"))["stale"] is True
        core.clock.advance(1_000)
        assert (await core.row("clicks", "a"))["status"] == "unknown"
