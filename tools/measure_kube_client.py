"""Memory and CPU of importing the kubernetes library, over what an operator has loaded without it.

    .venv/bin/python tools/measure_kube_client.py

Each row is a process of its own; resident memory as Linux counts it, medians of five.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 5
WITHOUT = (
    "import sys; sys.modules['kubernetes'] = None\n"  # kopf looks for it
    "import aioboto3, aiohttp, kopf, msgspec, prometheus_client, pydantic, structlog, yaml\n"
    "del sys.modules['kubernetes']\n"
)
APIS = "CoreV1Api, CoordinationV1Api, CustomObjectsApi, ApiextensionsV1Api"
ROWS = {
    "without the library": "",
    "kubernetes.aio: ApiClient, config": (
        "from kubernetes.aio.client.api_client import ApiClient; import kubernetes.aio.config"
    ),
    "kubernetes.aio: and CustomObjectsApi": (
        "from kubernetes.aio.client import CustomObjectsApi; import kubernetes.aio.config"
    ),
    "kubernetes.aio: and the four API classes": (
        f"from kubernetes.aio.client import {APIS}; import kubernetes.aio.config"
    ),
    "kubernetes: ApiClient, config": (
        "from kubernetes.client.api_client import ApiClient; import kubernetes.config"
    ),
    "kubernetes: and the four API classes": (
        f"from kubernetes.client import {APIS}; import kubernetes.config"
    ),
}
MEASURE = """
import resource, time
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.process_time())
"""


def measure(code: str) -> tuple[float, float]:
    """Peak MiB and CPU seconds of a process that imports."""
    said = [
        subprocess.run(
            [sys.executable, "-c", WITHOUT + code + MEASURE], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(ROUNDS)
    ]
    memory, seconds = zip(*said, strict=True)
    return statistics.median(map(float, memory)), statistics.median(map(float, seconds))


def main() -> None:
    """Print a table."""
    base_memory, base_seconds = measure("")
    print("| imported | resident | more | CPU | more |\n|---|---|---|---|---|")
    for name, code in ROWS.items():
        memory, seconds = measure(code)
        print(
            f"| {name} | {memory:.1f} MiB | {memory - base_memory:+.1f} MiB"
            f" | {seconds:.2f} s | {seconds - base_seconds:+.2f} s |"
        )


if __name__ == "__main__":
    main()
