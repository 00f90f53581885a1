"""The benches end to end, as small as they get: they run, check what they measure, and add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pannier_cli.bench import compare_workload, servers
from pannier_cli.bench.compare import check_answers, pannier_bodies
from pannier_cli.bench.compare_workload import SCENARIOS
from pannier_cli.failures import CommandFailed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def bench(*arguments: str) -> Any:
    """Run `pannier bench` and return its JSON document."""
    done = subprocess.run(
        [sys.executable, "-m", "pannier_cli", "bench", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_comparison_runs_and_reports_ratios() -> None:
    """Each server is measured for each request shape; the ratio is that of the medians."""
    document = bench("--rounds", "1", "--seconds", "1", "--no-feast")
    assert set(document["results"]) == {"one_row", "many_rows"}
    for scenario, results in document["results"].items():
        assert set(results) == {"pannier", "bare aiohttp"}
        assert all(one["requests"] > 0 for one in results.values()), results
        ours, bare = (results[name]["requests_per_second"] for name in ("pannier", "bare aiohttp"))
        assert document["ratios"][scenario]["bare aiohttp"]["requests_per_second"] == pytest.approx(
            ours / bare
        )
    cpu = [one["cpu_us_per_row"] for results in document["results"].values() for one in results.values()]
    assert max(cpu) > 0  # a machine that is busy with others may give one of them less than a tick
    assert document["machine"]["cpu"]


def test_the_hop_to_a_feature_server_is_compared_with_bare_aiohttp() -> None:
    """The same bytes at the same rate, and with a second hop that does nothing; ratios are of the medians."""
    result = bench("on-demand", "--rounds", "1", "--seconds", "0.5", "--rate", "50")["result"]
    (measured,) = result["rounds"]
    assert min(measured[kind]["count"] for kind in ("bare", "forwarder", "sidecar")) > 5
    p50 = {kind: measured[kind]["p50_ms"] for kind in ("bare", "forwarder", "sidecar")}
    assert result["p50_ratio"] == pytest.approx(p50["sidecar"] / p50["bare"])
    assert result["p50_over_forwarder"] == pytest.approx(p50["sidecar"] / p50["forwarder"])


def test_a_server_with_wrong_rows_is_not_measured(tmp_path: Path) -> None:
    """A comparison of servers that do not answer the same is refused before any load."""
    wrong = b'{"results":[{"group":"user_activity","rows":[]}]}'
    with servers.bare(tmp_path, {SCENARIOS[0].name: wrong}, None) as child, pytest.raises(CommandFailed):
        check_answers(
            child.port,
            f"/{SCENARIOS[0].name}",
            SCENARIOS[0],
            pannier_bodies(SCENARIOS[0]),
            compare_workload.pannier_answer_rows,
        )


@pytest.mark.redis
def test_mixed_load_runs_on_the_embedded_store() -> None:
    """Every kind of request is answered, every part's CPU is counted, every row came out of some tier."""
    document = bench(
        "mixed",
        *("--store", "embedded", "--ids", "40", "--reads", "60", "--writes", "30"),
        *("--warmup", "1", "--seconds", "3", "--no-search"),
    )
    trial = document["results"][0]["at_rate"]
    assert trial["load"]["failures"] == {}
    assert all(one["count"] > 0 for one in trial["load"]["latencies"].values())
    assert set(trial["cpu_percent"]) == {"sidecar", "redis", "load generator"}
    for shares in trial["hit_shares"].values():
        assert sum(shares.values()) == pytest.approx(1)
        assert set(shares) <= {"l1", "l2", "l3"}


def test_profile_of_hits_shows_no_codec_at_work() -> None:
    """On L1 hits nothing is encoded, and nothing but the request itself is decoded."""
    document = bench("profile", "--seconds", "1")
    calls = document["codec_calls"]
    assert document["rows_per_request"] == 150
    assert calls["JSON decoded by msgspec"] < 1.5
    assert calls["JSON encoded by msgspec"] < 0.5
    assert calls["feature codecs (pannier.values)"] < 0.5
    assert calls["json, base64 and struct of the standard library"] < 0.5


@pytest.mark.redis
def test_invalidation_bench_sees_every_write() -> None:
    """Readers of the other sidecar see each write, and the delays of announcements are told."""
    result = bench("invalidation", "--writes", "30")["result"]
    assert result["seen"]["count"] == 30
    assert result["reads_per_write"] >= 1
    assert result["announced_p50_ms"] <= result["announced_p99_ms"]
