"""What a run at scale is judged by."""

from __future__ import annotations

import dataclasses

import pytest
from tests.scale.arrivals import Arrivals
from tests.scale.figures import Figures, Sample, most_beyond
from tests.scale.population import Size, edit, edit_of, manifest, namespace_of

from pannier.spec_parsing import parse_feature_group
from pannier_operator.aws.call_budget import BURST_SECONDS

SOUND = Figures(
    groups=2,
    namespaces=1,
    dedicated=1,
    ready_seconds=5.0,
    restart_seconds=30.0,
    restart_writes=0,
    edits_per_second=10.0,
    seconds=10.0,
    delays=[0.25] * 99 + [4.0],
    missing=0,
    behind=0,
    catalogs=90,
    samples=[Sample(float(second), 100.0, 0.1 * second, 2 * second) for second in range(20)],
    edits_from=10,
    calls_per_second=5.0,
    calls={"DescribeTable": 38},
    refusals=[],
)


def test_a_sound_run_has_no_fault() -> None:
    """Quick, small, flat, within the budget, nothing lost and nothing refused."""
    assert list(SOUND.faults()) == []
    assert SOUND.cpu == pytest.approx(0.1)
    assert (SOUND.delay(0.5), SOUND.delay(0.99)) == (0.25, 4.0)
    assert "0.25 s" in SOUND.table()
    assert SOUND.document()["p99_seconds"] == 4.0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"delays": [5.0, *[0.25] * 49]}, "p99 from an edit to its catalog is 5.00 s"),
        ({"delays": []}, "p99 from an edit to its catalog is inf s"),
        ({"missing": 1}, "1 edits are in no catalog"),
        ({"behind": 2}, "2 groups are not Ready as edited"),
        ({"restart_writes": 3}, "a restart wrote 3 catalogs"),
        ({"refusals": ["get secrets"]}, "refused 1 requests: ['get secrets']"),
        ({"samples": [dataclasses.replace(s, rss_mib=200.0) for s in SOUND.samples]}, "took 200 MiB"),
        ({"samples": [dataclasses.replace(s, rss_mib=100 + s.at) for s in SOUND.samples]}, "memory grew"),
        ({"samples": [dataclasses.replace(s, control_calls=9 * int(s.at)) for s in SOUND.samples]}, "beyond"),
    ],
)
def test_each_fault_is_said(changed: dict[str, object], said: str) -> None:
    """Whatever misses its goal is named with its figure."""
    faults = list(dataclasses.replace(SOUND, **changed).faults())  # type: ignore[arg-type]
    assert len(faults) == 1
    assert said in faults[0]


def test_calls_are_compared_with_what_a_bucket_of_tokens_allows() -> None:
    """A burst after a pause is allowed as far as the bucket holds, wherever it is in the run."""
    burst = int(5 * BURST_SECONDS)
    assert most_beyond([(0, 0), (1, 5), (2, 10)], 5) <= 0
    assert most_beyond([(0, 0), (100, 0), (100, burst)], 5) == 0
    assert most_beyond([(0, 0), (100, 0), (100, burst + 3)], 5) == 3
    assert most_beyond([(0, 0), (1, burst + 5 + 7), (1000, burst + 12)], 5) == 7


def test_an_edit_arrives_with_any_catalog_that_is_as_new() -> None:
    """A catalog with a later edit of a group has the earlier ones; one with none of it settles nothing."""
    arrivals = Arrivals()
    arrivals.expect("a", 1, 10.0)
    arrivals.expect("a", 5, 11.0)
    arrivals.expect("b", 2, 12.0)
    arrivals.note({"a": 0, "c": 9}, 13.0)
    assert arrivals.missing == 3
    arrivals.note({"a": 5}, 14.0)
    assert sorted(arrivals.delays) == [3.0, 4.0]
    assert (arrivals.missing, arrivals.catalogs) == (1, 2)


def test_the_population_is_valid_and_each_edit_is_told_apart() -> None:
    """Every manifest parses, groups spread over the namespaces, and a TTL names its edit."""
    size = Size(groups=6, namespaces=3, dedicated=2)
    groups = [parse_feature_group({**manifest(n, size)}) for n in range(size.groups)]
    assert [group.spec.storage.mode for group in groups] == ["Dedicated"] * 2 + ["Shared"] * 4
    assert {namespace_of(n, size) for n in range(size.groups)} == {"team-000", "team-001", "team-002"}
    assert edit_of(edit(7)["cache"]["remote"]["hardTTLSeconds"]) == 7
