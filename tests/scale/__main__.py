"""``python -m tests.scale``: the operator with many groups and a stream of edits; 1 if not well enough."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.control_plane import a_control_plane
from tests.scale.population import Size
from tests.scale.run import run
from tests.servers import AWS_TEST_ENVIRONMENT, Dynoxide


def parsed() -> argparse.Namespace:
    """What the command line asks for."""
    usual = Size()
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--groups", type=int, default=usual.groups)
    parser.add_argument("--namespaces", type=int, default=usual.namespaces)
    parser.add_argument("--dedicated", type=int, default=usual.dedicated, help="tables of one group each")
    parser.add_argument("--edits-per-second", type=float, default=usual.edits_per_second)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of edits")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args()


def main() -> int:
    """Run, print, judge."""
    options = vars(parsed())
    as_json = options.pop("json")
    os.environ.update(AWS_TEST_ENVIRONMENT)
    os.environ.setdefault("GOGC", "400")  # else the API server spends a third of its time on its garbage
    with (
        tempfile.TemporaryDirectory(prefix="pannier-scale-") as folder,
        a_control_plane() as api,
        Dynoxide() as dynoxide,
    ):
        figures = asyncio.run(
            run(
                Size(**options),
                api,
                dynoxide.url,
                Path(folder),
                lambda line: print(line, file=sys.stderr, flush=True),
            )
        )
    print(json.dumps(figures.document(), indent=2) if as_json else figures.table())
    faults = list(figures.faults())
    for fault in faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
