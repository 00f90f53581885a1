"""The pure parts of the benches: draws, schedules, percentiles, and reading what others print."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pannier_cli.bench import compare_workload, mixed_workload, preload, scrape, wrk
from pannier_cli.bench.binaries import find_program
from pannier_cli.bench.cpu import parse_stat, tree_seconds
from pannier_cli.bench.figures import Latencies, Measured, medians, percentile, ratios
from pannier_cli.bench.hit_profile import FunctionKey, summarise
from pannier_cli.bench.http_client import Connection
from pannier_cli.bench.mixed import next_factor
from pannier_cli.bench.mixed_workload import Request, Zipf, schedule
from pannier_cli.bench.report import microseconds
from pannier_cli.exit_codes import ExitCode
from pannier_cli.failures import CommandFailed


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.floats(0.1, 100))
def test_a_percentile_is_the_smallest_value_that_covers_the_share(
    values: list[float], percent: float
) -> None:
    """Nearest rank: at least the share lies at or below it, and less than the share below it."""
    ordered = sorted(values)
    found = percentile(ordered, percent)
    share = percent / 100 * len(ordered)
    assert sum(value <= found for value in ordered) >= share - 1e-9
    assert sum(value < found for value in ordered) < share + 1e-9


def test_percentiles_of_nothing_are_not_a_number() -> None:
    """No answers have no latency."""
    assert math.isnan(percentile([], 99))
    assert Latencies.of([]).p99_ms is None
    assert Latencies.of([0.001, 0.002]).max_ms == 2.0


def measured(rps: float) -> Measured:
    """Make a figure with one number that matters."""
    return Measured(
        requests=10,
        requests_per_second=rps,
        p50_us=rps,
        p99_us=1,
        cpu_us_per_request=1,
        cpu_us_per_row=1,
        errors=1,
    )


def test_rounds_become_medians_and_ratios() -> None:
    """One slow round does not move the figure; ratios say how many times ours is theirs."""
    middle = medians([measured(90.0), measured(10.0), measured(100.0)])
    assert (middle.requests_per_second, middle.requests, middle.errors) == (90.0, 30, 3)
    ratio = ratios({"pannier": measured(50), "feast": measured(2)}, "pannier")["feast"]
    assert (ratio.requests_per_second, ratio.cpu_per_request) == (25.0, 1.0)


def test_zipf_draws_ranks_as_the_law_says() -> None:
    """Frequencies of the first ranks follow 1 / rank^exponent."""
    dice, n, draws = random.Random(7), 1_000, 60_000
    zipf = Zipf(n, 0.9)
    seen = Counter(zipf.rank(dice) for _ in range(draws))
    total = sum((rank + 1) ** -0.9 for rank in range(n))
    for rank in (0, 1, 9, 99):
        expected = draws * (rank + 1) ** -0.9 / total
        assert abs(seen[rank] - expected) < 5 * math.sqrt(expected)
    assert max(seen) < n


def test_schedule_has_the_rates_and_the_mix_that_were_asked_for() -> None:
    """Arrivals rise, reads and writes come at their rates, four fifths are timelines."""
    requests = list(schedule(1_500, 400, 20, ids=20_000, seed=1))
    assert all(a.due_seconds <= b.due_seconds for a, b in pairwise(requests))
    assert requests[-1].due_seconds < 20
    writes = sum(request.is_write for request in requests)
    assert abs(len(requests) - 38_000) < 1_000
    assert abs(writes - 8_000) < 450
    assert abs(sum(request.is_timeline for request in requests) / len(requests) - 0.8) < 0.01
    assert requests == list(schedule(1_500, 400, 20, ids=20_000, seed=1))


def test_kinds_name_what_is_reported() -> None:
    """A request's kind is its line in the report."""
    assert Request(0, is_write=True, is_timeline=False, id_number=1).kind == "record write"
    assert Request(0, is_write=False, is_timeline=True, id_number=1).kind == "timeline read"


def test_rows_of_the_mixed_load_have_the_sizes_they_claim() -> None:
    """50 events of 200 bytes per timeline and 8 KB per record; no two ids share a value."""
    items = list(mixed_workload.timeline_items(3))
    assert len({item["sk"]["S"] for item in items}) == 50
    assert {len(item["v"]["M"]["0"]["S"]) for item in items} == {200}
    values = {mixed_workload.record_item(n)["v"]["M"]["0"]["S"] for n in range(500)}
    assert {len(value) for value in values} == {8_192}
    assert len(values) == 500
    assert sum(1 for _ in preload.items_of(mixed_workload.TIMELINE, 3)) == 150
    assert [len(b) for b in islice(preload.batches(iter([{}] * 60), 25), 9)] == [25, 25, 10]


def test_both_servers_are_asked_for_the_same_rows() -> None:
    """What Pannier and Feast answer is brought to one form before it is compared."""
    ours = {
        "results": [
            {"group": "g", "rows": [{"id": "u", "status": "found", "features": {"a": 1, "b": "x"}}]},
            {"group": "h", "rows": [{"id": "u", "status": "missing"}]},
        ]
    }
    theirs = {
        "metadata": {"feature_names": ["user_id", "g__a", "g__b", "h__a"]},
        "results": [
            {"values": ["u"], "statuses": ["PRESENT"]},
            {"values": [1], "statuses": ["PRESENT"]},
            {"values": ["x"], "statuses": ["PRESENT"]},
            {"values": [None], "statuses": ["NOT_FOUND"]},
        ],
    }
    expected = {("g", "u"): {"a": 1, "b": "x"}}
    assert compare_workload.pannier_answer_rows(ours) == expected
    assert compare_workload.feast_answer_rows(theirs) == expected


def test_figures_of_wrk_are_found_in_what_it_prints() -> None:
    """The script's JSON line counts, the text around it does not."""
    output = 'Running 1s test\n{"requests":500,"duration_us":2000000,"p50_us":10,"p99_us":20,"errors":1}\nx\n'
    run = wrk.parse(output)
    assert (run.requests_per_second, run.p99_us, run.errors) == (250.0, 20, 1)
    with pytest.raises(CommandFailed, match="did not report"):
        wrk.parse("unable to connect")


def test_cpu_time_is_read_past_any_process_name() -> None:
    """A name with spaces and brackets does not shift the fields."""
    fields = ["S", "7", *["0"] * 9, "150", "50", "20", "10", *["0"] * 30]
    time_of = parse_stat(f"42 (a) b (c) {' '.join(fields)}")
    ticks = os.sysconf("SC_CLK_TCK")
    assert (time_of.parent, time_of.own_seconds, time_of.buried_seconds) == (7, 200 / ticks, 30 / ticks)


def test_cpu_time_of_this_process_rises_with_work() -> None:
    """What a process burns shows up within a clock tick or two."""
    before = tree_seconds(os.getpid())
    stop_at = time.process_time() + 0.1
    while time.process_time() < stop_at:
        pass
    assert 0.05 < tree_seconds(os.getpid()) - before < 5


def test_tier_shares_are_differences_between_two_scrapes() -> None:
    """Only what was read in between counts, and groups without reads are left out."""
    text = (
        "# HELP pannier_rows_read_total x\n"
        'pannier_rows_read_total{group="g",outcome="l1"} %s\n'
        'pannier_rows_read_total{group="g",outcome="l2"} %s\n'
        'pannier_rows_read_total{group="idle",outcome="l1"} 5.0\n'
    )
    before = scrape.parse_outcomes(text % ("10.0", "1.0"))
    after = scrape.parse_outcomes(text % ("1.3e+01", "2.0"))
    assert scrape.shares(before, after) == {"g": {"l1": 0.75, "l2": 0.25}}


@settings(deadline=None, max_examples=60)
@given(st.floats(0.0, 20.0))
def test_the_search_ends_at_the_highest_rate_that_holds(limit: float) -> None:
    """Whatever the true limit is, the search stops within a step below it, or at its bounds."""
    held, failed = (1.0, None) if limit >= 1.0 else (0.0, 1.0)
    for _ in range(40):
        factor = next_factor(held, failed)
        if factor is None:
            break
        held, failed = (factor, failed) if factor <= limit else (held, factor)
    assert next_factor(held, failed) is None
    assert held <= limit
    assert (limit < 16 and limit - held <= 0.11) or held == 16.0


def test_profile_counts_calls_per_request() -> None:
    """Codec calls are found by where they live; times are per request, the dearest first."""
    stats: dict[FunctionKey, Any] = {
        ("~", 0, "<method 'decode' of 'msgspec.json.Decoder' objects>"): (10, 10, 0.001, 0.001, {}),
        ("/x/contract/pannier/values/scalars.py", 5, "parse"): (20, 20, 0.01, 0.02, {}),
        ("/x/sidecar/pannier_sidecar/hot_rows.py", 9, "answer"): (10, 10, 0.1, 0.1, {}),
    }
    profile = summarise(stats, requests=10, rows=150)
    assert profile.functions[0].name == "pannier_sidecar/hot_rows.py:9 answer"
    assert profile.functions[0].own_us == pytest.approx(10_000)
    assert profile.codec_calls["JSON decoded by msgspec"] == 1
    assert profile.codec_calls["JSON encoded by msgspec"] == 0
    assert profile.codec_calls["feature codecs (pannier.values)"] == 2


@pytest.mark.parametrize(("value", "text"), [(3.14159, "3.1 µs"), (314.2, "314 µs"), (31_420, "31.42 ms")])
def test_durations_are_shown_in_a_unit_that_fits(value: float, text: str) -> None:
    """Microseconds or milliseconds."""
    assert microseconds(value) == text


def test_a_missing_program_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without wrk the bench exits with 6 and names the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PANNIER_TOOLS_DIR", str(tmp_path))
    with pytest.raises(CommandFailed) as failed:
        find_program("wrk")
    assert failed.value.exit_code == ExitCode.NOT_INSTALLED
    assert "apt-get install wrk" in failed.value.hint


async def answers_of(chunks: list[bytes], requests: int) -> list[bytes | None]:
    """Send requests one after the other to a server that answers each with the chunks, and hang up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(requests):
            await reader.readuntil(b"{}")
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()

    got: list[bytes | None] = []
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connection = await Connection.open("127.0.0.1", server.sockets[0].getsockname()[1])
        for _ in range(requests + 1):
            answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            connection.post(b"/x", b"{}", answered.set_result)
            got.append(await asyncio.wait_for(answered, 10))
        connection.close()
    return got


@pytest.mark.parametrize(
    "chunks",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 5\r\n\r", b"\nhel", b"lo"],
    ],
)
async def test_the_load_client_gathers_answers_however_they_are_cut(chunks: list[bytes]) -> None:
    """Heads and bodies may arrive in pieces; a lost connection is an answer of None."""
    got = await answers_of(chunks, 2)
    assert got == [b"".join(chunks)] * 2 + [None]


def test_a_percentile_of_a_histogram_is_the_bound_of_its_bucket() -> None:
    """Prometheus keeps no values, so the bound that they lie below is what can be said."""
    text = """
d_seconds_bucket{le="0.001"} 50.0
d_seconds_bucket{le="0.01"} 98.0
d_seconds_bucket{le="+Inf"} 100.0
d_seconds_sum 1.0
"""
    buckets = scrape.parse_buckets(text, "d_seconds")
    assert buckets == [(0.001, 50), (0.01, 98), (math.inf, 100)]
    assert [scrape.bucket_bound(buckets, percent) for percent in (50, 98, 99)] == [0.001, 0.01, math.inf]
    assert math.isnan(scrape.bucket_bound([], 50))
