"""Rules between fields: the sentence, the place, and that CEL and Python never disagree."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.cel_evaluation import broken_in_cel, broken_transitions_in_cel
from tests.contract.rule_cases import ACCEPTED, EDITS, REJECTED, Case, Edit
from tests.manifests import a_manifest

from pannier.errors import SpecInvalid
from pannier.rules import RULES, broken_rules
from pannier.spec import FeatureGroup
from pannier.spec_parsing import parse_feature_group
from pannier.transitions import TRANSITIONS, transition_problems


def _title(case: Case | Edit) -> str:
    return case.title


@pytest.mark.parametrize("case", ACCEPTED, ids=_title)
def test_sound_groups_pass_in_python_and_in_cel(case: Case) -> None:
    """What is sound is accepted by both sides."""
    parse_feature_group(case.manifest)
    assert broken_in_cel(case.manifest) == set()


@pytest.mark.parametrize("case", REJECTED, ids=_title)
def test_a_broken_rule_is_named_with_its_place(case: Case) -> None:
    """A single fault gives a single problem, at the field that has to change, in the words of the CRD."""
    with pytest.raises(SpecInvalid) as refusal:
        parse_feature_group(case.manifest)
    (problem,) = refusal.value.problems
    assert (problem.reason, problem.path) == (case.reason, case.path)
    assert broken_in_cel(case.manifest) == {problem.message}


@pytest.mark.parametrize("edit", EDITS, ids=_title)
def test_edits_are_judged_alike_in_python_and_in_cel(edit: Edit) -> None:
    """An edit is refused for its one reason, or passes, on both sides."""
    old, new = parse_feature_group(edit.old), parse_feature_group(edit.new)
    problems = transition_problems(old, new)
    expected = [] if edit.reason is None else [(edit.reason, edit.path)]
    assert [(problem.reason, problem.path) for problem in problems] == expected
    assert broken_transitions_in_cel(edit.old, edit.new) == {problem.message for problem in problems}


def test_every_rule_has_a_case_that_breaks_it() -> None:
    """A rule without a case could be wrong for years."""
    said = {message for case in REJECTED for message in broken_in_cel(case.manifest)}
    assert said == {rule.message for rule in RULES}
    edits = {message for edit in EDITS for message in broken_transitions_in_cel(edit.old, edit.new)}
    assert edits == {rule.message for rule in TRANSITIONS}


_ttls = st.integers(1, 4)
_states = st.sampled_from(["Enabled", "Shadow", "Disabled"])
_tiers = st.fixed_dictionaries(
    {},
    optional={
        "state": _states,
        "softTTLSeconds": _ttls,
        "hardTTLSeconds": _ttls,
        "negativeTTLSeconds": _ttls,
    },
)
_specs = st.fixed_dictionaries(
    {},
    optional={
        "key": st.fixed_dictionaries(
            {"entity": st.just("user")},
            optional={
                "sortKey": st.fixed_dictionaries(
                    {"type": st.sampled_from(["None", "Timestamp"])},
                    optional={
                        "unit": st.just("Seconds"),
                        "tieBreaker": st.sampled_from(["city", "visits", "other"]),
                    },
                )
            },
        ),
        "query": st.fixed_dictionaries(
            {}, optional={"defaultLimit": _ttls, "maxLimit": _ttls, "maxLookbackSeconds": _ttls}
        ),
        "retention": st.fixed_dictionaries(
            {},
            optional={"seconds": st.just(60), "basis": st.sampled_from(["WriteTime", "EventTime"])},
        ),
        "cache": st.fixed_dictionaries({}, optional={"local": _tiers, "remote": _tiers}),
        "storage": st.fixed_dictionaries(
            {"mode": st.sampled_from(["Dedicated", "Shared", "None"])},
            optional={
                "tableName": st.just("features"),
                "adoption": st.sampled_from(["Never", "IfCompatible"]),
                "dedicated": st.just({}),
            },
        ),
        "deletionPolicy": st.sampled_from(["Retain", "Delete", "Expire"]),
        "onDemand": st.just({"service": {"name": "scores", "port": 80}}),
    },
)


@given(_specs)
@settings(deadline=None, max_examples=60)
def test_cel_and_python_find_the_same_faults_in_any_group(spec: dict[str, Any]) -> None:
    """Whatever combination of fields is set, both sides name the same broken rules."""
    manifest = a_manifest(spec)
    group = FeatureGroup.model_validate(manifest)
    assert {problem.message for problem in broken_rules(group)} == broken_in_cel(manifest)
