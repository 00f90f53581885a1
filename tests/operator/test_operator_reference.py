"""The reference page of the operator says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from pannier_operator.catalogs.group_index import Key
from pannier_operator.metrics import COUNTERS, GAUGES, Metrics
from pannier_operator.metrics import reference_table as metrics_table
from pannier_operator.planning.findings import REASONS
from pannier_operator.planning.findings import reference_table as reasons_table
from pannier_operator.work_queue import Done

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "operator.md").read_text()
SOURCES = {path: path.read_text() for path in (ROOT / "operator").rglob("*.py")}


def test_the_page_holds_both_tables() -> None:
    """Word for word, so that neither grows without the other."""
    assert metrics_table() in PAGE
    assert reasons_table() in PAGE


def test_every_documented_reason_can_occur() -> None:
    """A reason that nothing gives any more is no reason."""
    code = "\n".join(text for path, text in SOURCES.items() if path.name != "findings.py")
    code += (ROOT / "contract" / "pannier" / "inputs.py").read_text()  # its words are passed on
    assert [reason for reason in REASONS if not re.search(rf'"{reason}"', code)] == []


def test_a_scrape_has_every_family_and_no_group_in_a_label() -> None:
    """Counters count, gauges are read, groups are told as numbers by condition."""
    metrics = Metrics()
    metrics.watch(lambda: {"pannier_operator_groups": 2})
    metrics.count_pass(Done(), 0.2)
    metrics.count_pass(Done(failed=True), 0.2)
    metrics.count_aws_call("describe_table", "OK")
    metrics.count_request("GET", "200")
    metrics.count_drift("EnableTtl")
    for name in ("a", "b"):
        metrics.note_conditions(Key("shop", name), [{"type": "Ready", "status": "True"}])
    text = metrics.text().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name, _, _ in COUNTERS} <= families.keys()
    assert GAUGES.keys() <= families.keys()
    assert 'pannier_operator_condition_groups{status="True",type="Ready"} 2.0' in text
    assert 'pannier_operator_reconciles_total{result="retried"} 1.0' in text
    assert "pannier_operator_groups 2.0" in text
    assert "shop" not in text
    metrics.forget(Key("shop", "a"))
    assert 'type="Ready"} 1.0' in metrics.text().decode()
