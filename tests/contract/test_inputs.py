"""What lies between a computed group and its inputs: judged once, by whoever asks, in the same words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import a_feature, a_group

from pannier.catalog import CatalogGroup
from pannier.errors import Problem
from pannier.inputs import MAX_DEPTH, input_graph, inputs_of

PATH = "spec.onDemand.inputs"


def computed(name: str, *inputs: str | dict[str, Any]) -> CatalogGroup:
    """Make a computed group; an input that is only named is read by the same id."""
    declared = [
        {"name": f"i{n}", "group": one, "features": ["item"]} if isinstance(one, str) else one
        for n, one in enumerate(inputs)
    ]
    return msgspec.structs.replace(a_group(name, storage_mode="None"), on_demand={"inputs": declared})


def an_input(group: str, *features: str, **fields: Any) -> dict[str, Any]:
    """Declare one input."""
    return {"name": "x", "group": group, "features": list(features or ("item",)), **fields}


def fault(*groups: CatalogGroup, of: str = "a") -> Problem | None:
    """Why the inputs of a group cannot be read."""
    return input_graph(groups).faults.get(of)


def test_sound_inputs_have_no_fault_and_count_as_rows() -> None:
    """Inputs of inputs count; one that two groups share counts for both."""
    groups = a_group("s"), computed("c", "s"), computed("b", "c", "s"), computed("a", "b", "c"), computed("p")
    graph = input_graph(groups)
    assert graph.faults == {}
    assert graph.rows == {"c": 1, "b": 3, "a": 6}


@pytest.mark.parametrize(
    ("one", "at", "reason", "says"),
    [
        (an_input("nobody"), "[0].group", "UnknownInputGroup", "'nobody' is no group that can be read here"),
        (an_input("s", "item", "x"), "[0].features[1]", "UnknownInputFeature", "'x' is not declared in"),
        (an_input("s", "old"), "[0].features[0]", "UnknownInputFeature", "'old' was removed from group 's'"),
        (an_input("s", limit=1), "[0].limit", "InputLimit", "one record per id"),
        (an_input("t", limit=51), "[0].limit", "InputLimit", "takes at most 50 (maxLimit)"),
        (an_input("asking"), "[0].group", "InputNeedsContext", "inputs are read without one"),
    ],
)
def test_what_cannot_be_read_is_named(one: dict[str, Any], at: str, reason: str, says: str) -> None:
    """The field at fault, a reason, and a sentence."""
    old = a_feature(1, "old", {"type": "Int64", "state": "Removed"})
    asking = computed("asking", an_input("s", idFrom="Context", contextKey="user"))
    found = fault(
        a_group("s", features={"item": "String", "old": old}),
        a_group("t", timeline=True),
        asking,
        computed("a", one),
    )
    assert found is not None
    assert (found.path, found.reason) == (PATH + at, reason)
    assert says in found.message


def test_a_timeline_may_be_an_input_with_and_without_a_limit() -> None:
    """Its newest records are passed along."""
    timeline = a_group("t", timeline=True)
    assert fault(timeline, computed("a", "t", an_input("t", limit=50))) is None


@pytest.mark.parametrize(
    ("edges", "says"),
    [
        ({"a": ["a"]}, "a -> a"),
        ({"a": ["b"], "b": ["a"]}, "a -> b -> a"),
        ({"a": ["b"], "b": ["c"], "c": ["d"], "d": ["e"], "e": ["a"]}, "a -> b -> c -> d -> e -> a"),
        ({"a": ["s", "b", "c"], "b": ["d"], "c": ["d"], "d": ["s", "b"]}, "b -> d -> b"),
        ({"a": ["b"], "b": ["c"], "c": ["b"]}, "b -> c -> b"),
    ],
    ids=["itself", "two", "long", "through shared edges", "only led to"],
)
def test_a_cycle_is_named_whole(edges: dict[str, list[str]], says: str) -> None:
    """Whoever is in it, or leads to it, cannot be read."""
    found = fault(a_group("s"), *(computed(name, *inputs) for name, inputs in edges.items()))
    assert found == Problem(PATH, "InputCycle", f"form a cycle: {says}")


def test_a_shared_input_is_no_cycle() -> None:
    """Two ways to one group are fine."""
    groups = a_group("s"), computed("d", "s"), computed("b", "d"), computed("c", "d"), computed("a", "b", "c")
    assert input_graph(groups).faults == {}


def test_inputs_go_only_so_deep() -> None:
    """The group at the limit is served, the next one is not."""
    names = [f"g{number}" for number in range(MAX_DEPTH + 1)]
    chain = [computed(name, below) for below, name in zip(["s", *names], names, strict=False)]
    graph = input_graph([a_group("s"), *chain])
    assert list(graph.faults) == [names[-1]]
    assert graph.faults[names[-1]].reason == "InputsTooDeep"
    assert names[-1] not in graph.rows


def test_a_chain_of_any_length_is_judged() -> None:
    """A catalog may hold thousands of groups, in a row or in a ring."""
    ring = [computed(f"g{number}", f"g{(number + 1) % 5_000}") for number in range(5_000)]
    assert {problem.reason for problem in input_graph(ring[:50]).faults.values()} == {
        "UnknownInputGroup",
        "InputsTooDeep",
    }
    assert len(input_graph([*ring[:-1], computed("g4999", "g4990")]).faults) == 5_000


def test_inputs_of_a_later_release_are_not_guessed_at() -> None:
    """A sidecar refuses such a group by itself."""
    assert inputs_of(computed("a", {"name": "x", "group": "s", "features": ["item"], "idFrom": "Hash"})) == ()


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24))
def test_whatever_has_no_fault_ends(edges: list[tuple[int, int]]) -> None:
    """Following the inputs of a sound group ends within the depth; rows are what that comes upon."""
    inputs: dict[int, list[int]] = {number: [] for number in range(8)}
    for user, used in edges:
        inputs[user].append(used)
    graph = input_graph([computed(f"g{n}", *(f"g{used}" for used in of_one)) for n, of_one in inputs.items()])

    def depth(number: int, left: int) -> int | None:
        if not left:
            return None
        below = [depth(used, left - 1) for used in inputs[number]]
        return None if None in below else 1 + max([0, *(d for d in below if d is not None)])

    def rows(number: int) -> int:
        return sum(1 + rows(used) for used in inputs[number])

    for number, below in inputs.items():
        name, deep = f"g{number}", depth(number, MAX_DEPTH + 1)
        assert (name in graph.faults) == (deep is None)
        if deep is not None and below:
            assert graph.rows[name] == rows(number)
