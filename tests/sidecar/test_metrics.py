"""What is counted, and the Prometheus text made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pannier_sidecar.exposition import Exposition, reference_table
from pannier_sidecar.instruments import MAX_LABELS, Histogram
from pannier_sidecar.metric_families import FAMILIES
from pannier_sidecar.metrics import (
    MAX_GROUPS,
    OUTCOMES,
    BackfillUsage,
    CircuitState,
    L1Usage,
    Metrics,
)
from pannier_sidecar.subscription_counts import SubscriptionCounts

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples of a scrape, as a Prometheus server would read them."""
    text = Exposition(metrics, version="1.2.3", process=False).text().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, tuple(sorted(labels.items()))]


def test_attributes_and_methods_count_the_same_thing(metrics: Metrics) -> None:
    """Adding to a group's attribute and calling `reads` end in one sample."""
    metrics.group("clicks").l1 += 2
    metrics.reads("clicks", "l1", 3)
    assert value(metrics, "pannier_rows_read_total", group="clicks", outcome="l1") == 5


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_exposed(metrics: Metrics, outcome: str) -> None:
    """Each outcome has its own sample, also at zero for a group that was seen."""
    metrics.group("clicks")
    assert value(metrics, "pannier_rows_read_total", group="clicks", outcome=outcome) == 0


def test_refreshes_writes_and_losses_are_exposed(metrics: Metrics) -> None:
    """The counters that methods feed arrive under their labels."""
    metrics.refresh("clicks", "early")
    metrics.refresh("clicks", "soft")
    metrics.refresh("clicks", "soft")
    metrics.writes("clicks", "written", 4)
    metrics.l3_missing("clicks", 2)
    metrics.tier_error("l3", "TierThrottled")
    metrics.backfill("dropped", 7)
    metrics.problem("UnknownGroup")
    metrics.group("clicks").observed.checks["hit", "10", "stale"] += 2
    metrics.group("clicks").observed.shadow["l2", "differ"] += 3
    metrics.watch_catalog(lambda: ["SpecInvalid"])
    assert value(metrics, "pannier_refreshes_total", group="clicks", kind="early") == 1
    assert value(metrics, "pannier_refreshes_total", group="clicks", kind="soft") == 2
    assert value(metrics, "pannier_writes_total", group="clicks", verdict="written") == 4
    assert value(metrics, "pannier_l3_missing_total", group="clicks") == 2
    assert value(metrics, "pannier_tier_errors_total", tier="l3", reason="TierThrottled") == 1
    assert value(metrics, "pannier_backfill_events_total", event="dropped") == 7
    assert value(metrics, "pannier_problems_total", reason="UnknownGroup") == 1
    assert value(metrics, "pannier_catalog_problems", reason="SpecInvalid") == 1
    labels = {"sample": "hit", "after": "10", "outcome": "stale"}
    assert value(metrics, "pannier_consistency_checks_total", group="clicks", **labels) == 2
    assert value(metrics, "pannier_shadow_total", group="clicks", tier="l2", outcome="differ") == 3


def test_histograms_are_cumulative_and_hold_the_bound_below(metrics: Metrics) -> None:
    """An observation equal to a bound counts below it; +Inf counts all; the sum is kept."""
    for seconds in (0.001, 0.0011, 99.0):
        metrics.load_seconds("l3", "clicks", seconds)
    name = "pannier_load_duration_seconds"
    labels = {"group": "clicks", "tier": "l3"}
    assert value(metrics, f"{name}_bucket", **labels, le="0.001") == 1
    assert value(metrics, f"{name}_bucket", **labels, le="0.002") == 2
    assert value(metrics, f"{name}_bucket", **labels, le="5.0") == 2
    assert value(metrics, f"{name}_bucket", **labels, le="+Inf") == 3
    assert value(metrics, f"{name}_count", **labels) == 3
    assert value(metrics, f"{name}_sum", **labels) == pytest.approx(99.0021)


def test_served_age_counts_many_rows_at_once(metrics: Metrics) -> None:
    """``n`` rows of one age cost one observation."""
    metrics.group("clicks").served_age.observe(30.0, 50)
    assert value(metrics, "pannier_served_age_seconds_count", group="clicks") == 50
    assert value(metrics, "pannier_served_age_seconds_sum", group="clicks") == 1500


def test_groups_beyond_the_bound_are_one(metrics: Metrics) -> None:
    """No catalog, however large, makes more than the bound of group labels."""
    for number in range(MAX_GROUPS + 50):
        metrics.reads(f"group{number}", "l1")
    groups = {dict(labels)["group"] for name, labels in samples(metrics) if name == "pannier_rows_read_total"}
    assert len(groups) == MAX_GROUPS + 1
    assert value(metrics, "pannier_rows_read_total", group="other", outcome="l1") == 50


def test_l1_usage_beyond_the_bound_is_summed(metrics: Metrics) -> None:
    """L1's gauges obey the same bound, and lose no bytes to it."""
    for number in range(MAX_GROUPS):
        metrics.group(f"group{number}")
    metrics.watch_l1(
        lambda: {"late": L1Usage(1, 10, 0, 1, 4), "later": L1Usage(2, 20, 3, 5, 6)}, limit_bytes=99
    )
    assert metrics.l1_usage() == {"other": L1Usage(3, 30, 3, 6, 10)}


def test_other_labels_are_bounded(metrics: Metrics) -> None:
    """A flood of distinct reasons ends in one sample named other."""
    for number in range(MAX_LABELS + 5):
        metrics.problem(f"Reason{number}")
    names = [labels for name, labels in samples(metrics) if name == "pannier_problems_total"]
    assert len(names) == MAX_LABELS + 1
    assert value(metrics, "pannier_problems_total", reason="other") == 5


def test_gauges_are_asked_at_the_scrape(metrics: Metrics) -> None:
    """Queues and L1 are read when somebody scrapes, not when they change."""
    usage = BackfillUsage(0, 0)
    metrics.watch_backfill(lambda: usage)
    metrics.watch_l1(lambda: {"clicks": L1Usage(3, 300, 1, 4, 2)}, limit_bytes=1000)
    usage = BackfillUsage(5, 2)
    metrics.catalog_revision = 7
    assert value(metrics, "pannier_backfill_queue_entries") == 5
    assert value(metrics, "pannier_backfill_unconfirmed_entries") == 2
    assert value(metrics, "pannier_l1_bytes", group="clicks") == 300
    assert value(metrics, "pannier_l1_evictions_total", group="clicks") == 1
    assert value(metrics, "pannier_l1_limit_bytes") == 1000
    assert value(metrics, "pannier_catalog_revision") == 7
    assert value(metrics, "pannier_build_info", version="1.2.3") == 1


def test_a_circuit_is_one_state_and_tells_each_change_once(metrics: Metrics) -> None:
    """Exactly one state is 1, and repeating a state is no change."""
    changes: list[tuple[str, CircuitState | None, CircuitState]] = []
    metrics.watch_circuits(lambda tier, before, now: changes.append((tier, before, now)))
    for state in ("closed", "closed", "open", "open", "half_open", "closed"):
        metrics.circuit("l2", state)
    assert changes == [
        ("l2", None, "closed"),
        ("l2", "closed", "open"),
        ("l2", "open", "half_open"),
        ("l2", "half_open", "closed"),
    ]
    states = [value(metrics, "pannier_tier_circuit_state", tier="l2", state=s) for s in ("closed", "open")]
    assert states == [1, 0]


def test_names_are_prefixed_and_carry_units() -> None:
    """Names follow the Prometheus conventions, so that dashboards can be guessed."""
    for family in FAMILIES:
        assert re.fullmatch(r"pannier_[a-z0-9_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.help.endswith(".")
        if family.kind == "histogram":
            assert family.name.endswith("_seconds")


@pytest.fixture
def documented() -> str:
    return REFERENCE.read_text(encoding="utf-8")


def test_the_reference_lists_every_metric(documented: str) -> None:
    """docs/reference/metrics.md holds the generated table, word for word."""
    assert reference_table() in documented


def test_what_is_documented_is_what_is_exposed(metrics: Metrics) -> None:
    """Every family is in the text, and nothing beside them."""
    text = Exposition(metrics, version="1", process=False).text().decode()
    typed = re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE)
    assert typed == [family.name for family in FAMILIES]


def test_process_metrics_come_along(metrics: Metrics) -> None:
    """CPU and memory of the process are in the same scrape."""
    assert "process_resident_memory_bytes" in Exposition(metrics, version="1").text().decode()


def test_state_is_told_by_repr(metrics: Metrics) -> None:
    """Counters say in a debugger what they hold."""
    metrics.group("clicks").l2 += 1
    metrics.problem("UnknownGroup")
    assert repr(metrics.group("clicks")) == "<GroupCounters clicks l2=1>"
    assert repr(metrics) == "<Metrics 1 groups, catalog revision 0>"
    assert "UnknownGroup" in repr(metrics.problems)


def test_the_subscription_is_told_only_where_there_is_one(metrics: Metrics) -> None:
    """Without a Redis there is nobody to listen to, and no gauge that says so as if it were a fault."""
    listening = ("pannier_invalidation_listening", ())
    assert listening not in samples(metrics)
    metrics.subscription.state = "lost"
    metrics.subscription.losses += 1
    assert samples(metrics)[listening] == 0
    metrics.subscription.state = "listening"
    metrics.published(3)
    metrics.published(4)
    metrics.invalidation("clicks", "dropped", 2)
    metrics.subscription.delay.observe(0.003)
    told = samples(metrics)
    assert told[listening] == 1
    assert told["pannier_invalidation_losses_total", ()] == 1
    assert told["pannier_invalidation_messages_total", ()] == 2
    assert told["pannier_invalidation_deliveries_total", ()] == 7
    assert told["pannier_invalidation_delay_seconds_count", ()] == 1
    assert told["pannier_invalidations_total", (("event", "dropped"), ("group", "clicks"))] == 2


def test_counts_say_what_they_are() -> None:
    """For whoever debugs."""
    assert repr(SubscriptionCounts()) == "<SubscriptionCounts absent, 0 losses, epoch 0>"
    assert repr(Histogram((1.0,))) == "<Histogram 0 observations, sum 0>"
