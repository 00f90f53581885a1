"""The repository keeps its shape: what a reviewer would otherwise have to look for in every change."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "contract/pannier",
    "operator/pannier_operator",
    "sidecar/pannier_sidecar",
    "ondemand/pannier_ondemand",
    "cli/pannier_cli",
)
MAX_MODULE_LINES = 300
MAX_TEST_LINES = 400
WRITTEN_REASON = "# Longer than 300 lines because "
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
REGISTRY_HOST = re.compile(
    r"(?:pypi|pythonhosted|npmjs|maven|apache|debian|ubuntu|golang|crates|githubusercontent)"
    r"\.(?:org|com|io)\b|registry\.\w+\.|/simple/|artifact[a-z]*\.(?:io|com)",
    re.IGNORECASE,
)
"""Where packages come from is for each machine's own configuration, never for this repository."""
HOST_EXEMPT = {
    "LICENSE": "the licence names the foundation that wrote it",
    "tests/test_layout.py": "spells the hosts it looks for",
    "e2e/controlplane/go.mod": "names of Go modules look like hosts",
    "e2e/controlplane/go.sum": "names of Go modules look like hosts",
    "e2e/node/go.mod": "names of Go modules look like hosts",
    "e2e/node/go.sum": "names of Go modules look like hosts",
    "e2e/dns/go.mod": "names of Go modules look like hosts",
    "e2e/dns/go.sum": "names of Go modules look like hosts",
}
COVERED_THROUGH = {
    "contract/pannier/cel.py": "tests/contract/test_spec_rules.py",
    "contract/pannier/rules_*.py": "tests/contract/test_spec_rules.py",
    "contract/pannier/feature_defaults.py": "tests/contract/test_spec_problems.py",
    "contract/pannier/spec_st*.py": "tests/contract/test_crd.py",
    "contract/pannier/values/*.py": "tests/contract/test_values_laws.py",
    "sidecar/pannier_sidecar/api/*.py": "tests/integration/test_http_api.py",
    "sidecar/pannier_sidecar/*answers.py": "tests/integration/test_serving_shapes.py",
    "sidecar/pannier_sidecar/erasures.py": "tests/integration/test_serving_writes.py",
    "sidecar/pannier_sidecar/written_states.py": "tests/integration/test_serving_writes.py",
    "sidecar/pannier_sidecar/hot_rows.py": "tests/integration/test_serving_reads.py",
    "sidecar/pannier_sidecar/floors.py": "tests/sidecar/test_backfill.py",
    "sidecar/pannier_sidecar/given_up.py": "tests/integration/test_serving_reads.py",
    "sidecar/pannier_sidecar/known.py": "tests/integration/test_serving_reads.py",
    "sidecar/pannier_sidecar/observation_counts.py": "tests/integration/test_observer.py",
    "sidecar/pannier_sidecar/pack*.py": "tests/integration/test_serving_shapes.py",
    "sidecar/pannier_sidecar/read_shape.py": "tests/integration/test_serving_shapes.py",
    "sidecar/pannier_sidecar/render.py": "tests/integration/test_serving_shapes.py",
    "sidecar/pannier_sidecar/single_flight.py": "tests/integration/test_serving_reads.py",
    "sidecar/pannier_sidecar/live_plan.py": "tests/integration/test_http_lifecycle.py",
    "sidecar/pannier_sidecar/process.py": "tests/integration/test_http_lifecycle.py",
    "sidecar/pannier_sidecar/setting_rules.py": "tests/sidecar/test_settings.py",
    "sidecar/pannier_sidecar/feed_client.py": "tests/integration/test_live_catalogs.py",
    "operator/pannier_operator/checks/inspection.py": "tests/integration/test_check.py",
    "operator/pannier_operator/feed/desk.py": "tests/integration/test_live_catalogs.py",
    "operator/pannier_operator/feed/feed_server.py": "tests/integration/test_live_catalogs.py",
    "sidecar/pannier_sidecar/loads.py": "tests/integration/test_on_demand.py",
    "sidecar/pannier_sidecar/on_demand/computed_loads.py": "tests/integration/test_on_demand.py",
    "sidecar/pannier_sidecar/on_demand/feature_servers.py": "tests/integration/test_on_demand.py",
    "sidecar/pannier_sidecar/on_demand/server_client.py": "tests/integration/test_on_demand_faults.py",
    "sidecar/pannier_sidecar/on_demand_plan.py": "tests/integration/test_on_demand.py",
    "sidecar/pannier_sidecar/request_faults.py": "tests/integration/test_on_demand.py",
    "sidecar/pannier_sidecar/stage_times.py": "tests/integration/test_http_api.py",
    "sidecar/pannier_sidecar/l3_opening.py": "tests/integration/test_http_faults.py",
    "sidecar/pannier_sidecar/tiers/bulkheads.py": "tests/integration/test_http_bulkheads.py",
    "sidecar/pannier_sidecar/status.py": "tests/integration/test_http_lifecycle.py",
    "sidecar/pannier_sidecar/table_health.py": "tests/integration/test_http_faults.py",
    "sidecar/pannier_sidecar/tier_events.py": "tests/integration/test_http_faults.py",
    "sidecar/pannier_sidecar/version.py": "tests/integration/test_http_lifecycle.py",
    "sidecar/pannier_sidecar/yaml_nodes.py": "tests/sidecar/test_manifests.py",
    "sidecar/pannier_sidecar/tiers/dynamodb_*.py": "tests/integration/test_store_dynoxide.py",
    "sidecar/pannier_sidecar/tiers/embedded_*.py": "tests/integration/test_store_embedded.py",
    "sidecar/pannier_sidecar/tiers/fences.py": "tests/integration/test_store_dynoxide.py",
    "sidecar/pannier_sidecar/tiers/eviction.py": "tests/sidecar/test_l1_local.py",
    "sidecar/pannier_sidecar/tiers/l1_*.py": "tests/sidecar/test_l1_local.py",
    "sidecar/pannier_sidecar/tiers/l2_parts.py": "tests/integration/test_l2_redis.py",
    "sidecar/pannier_sidecar/tiers/l2.py": "tests/integration/test_l2_redis.py",
    "operator/pannier_operator/*.py": "tests/integration/test_operator_on_api_server.py",
    "operator/pannier_operator/certificates/*.py": "tests/integration/test_certificates_on_api_server.py",
    "operator/pannier_operator/setting_values.py": "tests/operator/test_operator_settings.py",
    "operator/pannier_operator/injection/*.py": "tests/integration/test_injection_on_api_server.py",
    "operator/pannier_operator/catalogs/scope.py": "tests/operator/test_webhook_verdict.py",
    "operator/pannier_operator/kube/*.py": "tests/integration/test_operator_on_api_server.py",
    "operator/pannier_operator/planning/*.py": "tests/operator/test_table_plan_laws.py",
    "operator/pannier_operator/aws/*.py": "tests/integration/test_operator_tables.py",
    "ondemand/pannier_ondemand/*.py": "tests/ondemand/test_kit.py",
    "cli/pannier_cli/bench/*.py": "tests/cli/test_bench_runs.py",
    "cli/pannier_cli/commands/bench.py": "tests/cli/test_bench_runs.py",
    "cli/pannier_cli/commands/*.py": "tests/cli/test_commands.py",
    "cli/pannier_cli/*.py": "tests/cli/test_commands.py",
}
"""Modules that are parts of something with one test from outside -> that test."""


def tracked() -> list[Path]:
    """Files under version control, and those that the next commit would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.fail(f"git cannot list the files: {listed.stderr}")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules() -> list[Path]:
    """Every Python file of ours."""
    return [path for path in tracked() if path.suffix == ".py"]


def test_operator_folder_does_not_shadow_the_standard_library() -> None:
    """`operator/__init__.py` would make `import operator` find ours and break Python itself."""
    assert not (ROOT / "operator" / "__init__.py").exists()


def test_modules_stay_short_or_say_why_not() -> None:
    """A module over 300 lines does two things, unless its author wrote down why it does one."""
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in modules()
        if (lines := len((text := path.read_text()).splitlines())) > longest(path)
        and WRITTEN_REASON not in text
    }
    assert not too_long


def longest(module: Path) -> int:
    """A list of tests may be longer than a module that has to be understood whole."""
    return MAX_TEST_LINES if module.is_relative_to(ROOT / "tests") else MAX_MODULE_LINES


def test_no_module_has_a_name_that_says_nothing() -> None:
    """A module is named for the step or thing it is."""
    vague = [str(path.relative_to(ROOT)) for path in modules() if VAGUE_NAMES & set(path.stem.split("_"))]
    assert not vague


def test_every_module_says_what_it_is() -> None:
    """A module opens with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.read_text().strip() and not path.read_text().lstrip().startswith(('"""', "#!"))
    ]
    assert not silent


def test_every_module_has_its_test() -> None:
    """A module has a test of its name, or a test that imports it, or the exception is written down."""
    tests = {path.name: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    sources = "\n".join(tests.values())
    untested = [
        str(module.relative_to(ROOT))
        for package in PACKAGES
        for module in sorted((ROOT / package).rglob("*.py"))
        if module.name not in {"__init__.py", "__main__.py"}
        and f"test_{module.name}" not in tests
        and not imports(sources, module)
        and not any(module.relative_to(ROOT).match(pattern) for pattern in COVERED_THROUGH)
    ]
    assert not untested


def imports(sources: str, module: Path) -> bool:
    """Whether an import names the module, whole or as ``from package import module``."""
    *package, name = module.relative_to(ROOT).with_suffix("").parts[1:]
    dotted = re.escape(".".join(package))
    return re.search(rf"\b{dotted}(?:\.{name}\b| import [^\n]*\b{name}\b)", sources) is not None


def test_exceptions_are_still_needed() -> None:
    """An exception names modules and a test that exist."""
    assert [pattern for pattern in COVERED_THROUGH if not any(ROOT.glob(pattern))] == []
    assert [test for test in COVERED_THROUGH.values() if not (ROOT / test).exists()] == []


def test_no_package_registry_is_named() -> None:
    """Package registries are each machine's own configuration: no tracked file names a host of one."""
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in tracked()
        if str(path.relative_to(ROOT)) not in HOST_EXEMPT and path.suffix not in {".png", ".gif", ".ico"}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if REGISTRY_HOST.search(line)
    ]
    assert not named
