"""Where the time of a read goes when L1 has every row, and what it encodes and decodes: proof by counting.

The sidecar runs in this process under cProfile, on real sockets, with wrk outside of it. A profile makes
every call dearer, so its times are shares, not latencies; its call counts are exact.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop
import yaml
from rich.table import Table

from pannier_cli import logs
from pannier_cli.bench import compare, wrk
from pannier_cli.bench import compare_workload as workload
from pannier_cli.bench.children import HOST
from pannier_cli.bench.compare_workload import SCENARIOS
from pannier_cli.bench.report import grid
from pannier_sidecar.app import build
from pannier_sidecar.settings import load

SCENARIO: Final = SCENARIOS[-1]
Tell = Callable[[str], None]
FunctionKey = tuple[str, int, str]
"""(file, line, name), as pstats has it; ``~`` as file for what is written in C."""

CODECS: Final[Mapping[str, Callable[[FunctionKey], bool]]] = {
    "JSON decoded by msgspec": lambda key: "decode" in key[2] and "msgspec" in key[2],
    "JSON encoded by msgspec": lambda key: "encode" in key[2] and "msgspec" in key[2],
    "json, base64 and struct of the standard library": lambda key: (
        key[0].endswith(("/json/__init__.py", "/json/encoder.py", "/json/decoder.py", "/base64.py"))
        or "binascii" in key[2]
        or "_struct" in key[2]
    ),
    "feature codecs (pannier.values)": lambda key: "/pannier/values/" in key[0],
    "rendering of rows (pannier_sidecar.render)": lambda key: key[0].endswith("/pannier_sidecar/render.py"),
}
"""Everything that could turn values into text or back."""


class FunctionTime(msgspec.Struct, frozen=True, kw_only=True):
    """One function of the profile, per request."""

    name: str
    calls: float
    own_us: float
    cumulative_us: float


class HitProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile came to."""

    requests: int
    rows_per_request: int
    functions: list[FunctionTime]
    """The dearest first, by own time."""
    codec_calls: dict[str, float]
    """Calls per request of everything that encodes or decodes."""


def run(seconds: int, directory: Path, tell: Tell) -> HitProfile:
    """Serve, load and profile."""
    specs = directory / "specs"
    specs.mkdir()
    for group in workload.GROUPS:
        (specs / f"{group}.yaml").write_text(yaml.safe_dump(workload.manifest(group)))
    profile = cProfile.Profile()
    requests = uvloop.run(_serve(seconds, directory, profile, tell))
    stats: dict[FunctionKey, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return summarise(stats, requests, SCENARIO.rows)


def summarise(stats: Mapping[FunctionKey, Any], requests: int, rows: int) -> HitProfile:
    """Condense what pstats holds to figures per request."""
    functions = [
        FunctionTime(
            name=_name(key),
            calls=calls / requests,
            own_us=own * 1e6 / requests,
            cumulative_us=cumulative * 1e6 / requests,
        )
        for key, (_, calls, own, cumulative, _) in stats.items()
    ]
    codec_calls = {
        title: sum(entry[1] for key, entry in stats.items() if belongs(key)) / requests
        for title, belongs in CODECS.items()
    }
    return HitProfile(
        requests=requests,
        rows_per_request=rows,
        functions=sorted(functions, key=lambda function: -function.own_us),
        codec_calls=codec_calls,
    )


def function_table(profile: HitProfile, lines: int) -> Table:
    """One line per function, the dearest first."""
    table = grid("function", ">calls/request", ">own µs/request", ">with callees µs/request")
    for function in profile.functions[:lines]:
        table.add_row(
            function.name, f"{function.calls:.2f}", f"{function.own_us:.1f}", f"{function.cumulative_us:.1f}"
        )
    return table


def codec_table(profile: HitProfile) -> Table:
    """One line per way to encode or decode."""
    table = grid("encodes or decodes", ">calls/request", ">calls/row")
    for title, calls in profile.codec_calls.items():
        table.add_row(title, f"{calls:.3f}", f"{calls / profile.rows_per_request:.4f}")
    return table


async def _serve(seconds: int, directory: Path, profile: cProfile.Profile, tell: Tell) -> int:
    flags = {
        "specs": str(directory / "specs"),
        "store": "embedded",
        "data_dir": str(directory / "data"),
        "http": f"{HOST}:0",
        "admin": f"{HOST}:0",
        "log_level": "warning",
    }
    settings = load(flags, {})
    logs.configure(settings.log_format, settings.log_level)
    async with build(settings) as sidecar:
        port = sidecar.data.tcp_addresses[0].port
        tell("writing rows and warming L1")
        await asyncio.to_thread(compare.fill_and_warm, port)
        tell(f"profiling {seconds} s of reads of {SCENARIO.title}")
        profile.enable()
        try:
            loaded = await asyncio.to_thread(_load, port, seconds, directory)
        finally:
            profile.disable()
        return loaded.requests


def _load(port: int, seconds: int, directory: Path) -> wrk.WrkRun:
    bodies = directory / "bodies.jsonl"
    bodies.write_bytes(b"\n".join(compare.pannier_bodies(SCENARIO)) + b"\n")
    url = f"http://{HOST}:{port}/v1/features/read"
    return wrk.run(url, bodies, seconds=seconds, cores=None)


def _name(key: FunctionKey) -> str:
    file, line, name = key
    if file == "~":
        return name
    parts = Path(file).parts
    start = next(
        (i for i, part in enumerate(parts) if part in {"pannier", "pannier_sidecar"}), len(parts) - 2
    )
    return f"{'/'.join(parts[start:])}:{line} {name}"
