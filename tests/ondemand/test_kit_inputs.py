"""Functions of the kit that take inputs: what is refused at start, and what reaches the function."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict

import msgspec
import pytest
import yaml
from examples.flights_on_demand.server import great_circle_miles

from pannier.errors import SpecInvalid
from pannier_ondemand import FeatureServer, Record, openapi
from pannier_ondemand.testing import TestClient

HOME = {"name": "home", "group": "homes", "features": ["lat", "city"]}
SEEN = {"name": "seen", "group": "clicks", "features": ["item"]}


class Score(msgspec.Struct):
    score: float


class Home(msgspec.Struct):
    lat: float
    city: str | None


class Click(msgspec.Struct):
    item: str


@dataclasses.dataclass
class HomeData:
    lat: float
    city: str = "nowhere"

    def __post_init__(self) -> None:
        if self.city == "secret":
            raise ValueError(self.city)


class HomeDict(TypedDict):
    lat: float
    city: NotRequired[str]


class Wrong(msgspec.Struct):
    lat: int
    street: str


Seen = Sequence[Record[Click]]


def manifest(name: str, features: Mapping[str, str], **spec: Any) -> dict[str, Any]:
    declared = [{"id": n, "name": of, "type": type_} for n, (of, type_) in enumerate(features.items())]
    return {
        "apiVersion": "pannier.dev/v1alpha1",
        "kind": "FeatureGroup",
        "metadata": {"name": name},
        "spec": {
            "groupName": name,
            "key": {"entity": "user"},
            "features": declared,
            "storage": {"mode": "Dedicated"},
            **spec,
        },
    }


def declare(directory: Path, *inputs: Mapping[str, Any]) -> Path:
    """Write two stored groups, a record's and a timeline's, and a computed one with these inputs."""
    key = {"entity": "user", "sortKey": {"type": "Timestamp", "unit": "Seconds"}}
    on_demand = {"service": {"name": "scores", "port": 8080}, "inputs": list(inputs)}
    for group in (
        manifest("homes", {"lat": "Float64", "city": "String"}),
        manifest("clicks", {"item": "String"}, key=key),
        manifest("scores", {"score": "Float64"}, storage={"mode": "None"}, onDemand=on_demand),
    ):
        (directory / f"{group['metadata']['name']}.yaml").write_text(yaml.safe_dump(group))
    return directory


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """The computed group takes a home and what was seen."""
    return declare(tmp_path, HOME, SEEN)


def computing(function: Callable[..., Any]) -> FeatureServer:
    server = FeatureServer()
    server.computes("scores")(function)
    return server


def refusals(function: Callable[..., Any], specs: Path) -> set[tuple[str, str]]:
    """Where and why it is refused; sentences are there."""
    with pytest.raises(SpecInvalid) as refused:
        TestClient(computing(function), specs)
    assert all(len(problem.message.split()) > 4 for problem in refused.value.problems)
    return {(problem.path, problem.reason) for problem in refused.value.problems}


def row(row_id: str, home: Home | None, seen: Seen = ()) -> Score:
    """One row, in a thread."""
    return Score(-1.0 if home is None else home.lat + len(seen) + len(home.city or ""))


async def async_row(row_id: str, seen: Seen, home: Home | None) -> Score:
    """One row, in the event loop."""
    return row(row_id, home, seen)


def batch(ids: Sequence[str], home: Sequence[Home | None], seen: Sequence[Seen]) -> Mapping[str, Score]:
    """All rows, in a thread."""
    return {one: row(one, at, items) for one, at, items in zip(ids, home, seen, strict=True)}


async def async_batch(ids: list[str], *, home: list[Home | None], seen: list[Seen]) -> dict[str, Score]:
    """All rows, in the event loop."""
    return dict(batch(ids, home, seen))


@pytest.mark.parametrize("function", [row, async_row, batch, async_batch])
async def test_inputs_arrive_typed_and_missing_ones_as_none_where_none_is_taken(
    specs: Path, function: Callable[..., Any]
) -> None:
    """In each of the four forms: a missing home is None, a missing timeline makes its row unknown."""
    clicks = [Record(2, Click("y")), Record(1, Click("x"))]
    inputs: dict[str, list[Any]] = {
        "home": [{"lat": 1.5, "city": "Rom"}, None, Home(2.5, None), {"lat": 3}, {"city": "Rom"}],
        "seen": [clicks, [], None, (), ()],
    }
    with TestClient(computing(function), specs) as client:
        rows = await client.rows("scores", ["a", "b", "c", "d", "e"], inputs=inputs)
        assert {name: rows[name]["features"]["score"] for name in "abd"} == {"a": 6.5, "b": -1.0, "d": 3.0}
        assert (rows["c"]["status"], rows["c"]["reason"]) == ("unknown", "InputMissing")
        assert "'seen'" in rows["c"]["message"]
        assert (rows["e"]["status"], rows["e"]["reason"]) == ("unknown", "InputUnfit")
        assert "lat" in rows["e"]["message"]
        alone = await client.rows("scores", ["c"], inputs={"home": [None], "seen": [None]})
        assert alone["c"]["reason"] == "InputMissing"  # and the function is not called at all


async def test_a_dataclass_and_a_typed_dict_are_types_of_features_too(tmp_path: Path) -> None:
    """Their defaults hold for what is absent; what an author's own check says goes no further."""

    def score(row_id: str, home: HomeData, work: HomeDict) -> Score:
        return Score(home.lat + len(home.city) + len(work.get("city", "")))

    work = {**HOME, "name": "work"}
    with TestClient(computing(score), declare(tmp_path, HOME, work)) as client:
        homes = [{"lat": 1}, {"lat": 1, "city": "secret"}]
        rows = await client.rows(
            "scores", ["a", "b"], inputs={"home": homes, "work": [{"lat": 0, "city": "Rom"}] * 2}
        )
    assert rows["a"]["features"]["score"] == 1 + len("nowhere") + len("Rom")
    assert rows["b"]["message"] == "input 'home' does not fit: its type raised ValueError"


async def test_a_read_without_an_input_is_refused_unless_the_parameter_has_a_default(specs: Path) -> None:
    """So a server may run ahead of the sidecars' catalog; rows that are not one per id are refused too."""
    with TestClient(computing(row), specs) as client:
        rows = await client.rows("scores", ["a"], inputs={"home": [{"lat": 1.0}]})
        assert rows["a"]["features"] == {"score": 1.0}
        with pytest.raises(AssertionError, match=r"InputNotGiven: .*'home'"):
            await client.rows("scores", ["a"], inputs={"seen": [()]})
        read = {"group": "scores", "schema_hash": client.groups["scores"].schema_hash, "ids": ["a", "b"]}
        found = {"id": "x", "status": "found"}
        home = {**found, "features": {"lat": 1.0, "city": "x"}}
        reply = await client.call([{**read, "inputs": {"home": [home]}}])
        assert json.loads(reply.body)["results"][0]["error"]["reason"] == "InputMisaligned"
        timeline = {**found, "records": []}
        inputs = {"home": [{"id": "x", "status": "unknown"}, timeline], "seen": [timeline] * 2, "more": []}
        reply = await client.call([{**read, "inputs": inputs}])
        reasons = [said["reason"] for said in json.loads(reply.body)["results"][0]["rows"]]
        assert reasons == ["InputUnknown", "InputUnfit"]
        assert (await client.call([{**read, "ids": []}])).status == 200  # asks for the schema alone


async def test_a_test_gives_only_what_a_sidecar_would_send(specs: Path) -> None:
    """Another feature, another type or a row too few is a mistake of the test, and named."""
    with TestClient(computing(row), specs) as client:
        for home, says in (
            ([{"lat": 1.0, "street": "x"}], "street"),
            ([{"lat": "north"}], "lat"),
            ([], "one value for each id"),
        ):
            with pytest.raises(AssertionError, match=says):
                await client.rows("scores", ["a"], inputs={"home": home})
        with pytest.raises(AssertionError, match="Records"):
            await client.rows("scores", ["a"], inputs={"seen": [[{"item": "x"}]]})


def test_inputs_that_are_not_as_declared_are_refused_at_start(specs: Path) -> None:
    """Names, shapes, features and types of inputs, all of them at once."""

    def one(row_id: str, home: Wrong, seen: Home, elsewhere: Home) -> Score:
        return Score(0.0)

    assert refusals(one, specs) == {
        ("scores.home.lat", "InputTypeMismatch"),
        ("scores.home.street", "InputFeatureUndeclared"),
        ("scores.seen", "InputShapeMismatch"),
        ("scores.seen.lat", "InputFeatureUndeclared"),
        ("scores.seen.city", "InputFeatureUndeclared"),
        ("scores.elsewhere", "InputUndeclared"),
    }

    def other(row_id: str, home: Seen) -> Score:
        return Score(0.0)

    assert refusals(other, specs) >= {
        ("scores.home", "InputShapeMismatch"),
        ("scores.seen", "InputNotTaken"),
    }


@pytest.mark.parametrize("name", ["context", "from"])
def test_an_input_that_no_parameter_can_be_called_is_refused(tmp_path: Path, name: str) -> None:
    """The context has its own parameter, and Python its own words; the sentence says to rename it."""

    def score(row_id: str, context: HomeDict) -> Score:
        return Score(0.0)

    declare(tmp_path, {**HOME, "name": name})
    with pytest.raises(SpecInvalid, match="rename it"):
        TestClient(computing(score), tmp_path)
    assert refusals(score, tmp_path) == {(f"scores.{name}", "InputNotTaken")}


def test_groups_that_inputs_come_from_have_to_be_among_the_specs(specs: Path) -> None:
    """Their types are checked; a feature that such a group does not have is told as everywhere."""
    (specs / "homes.yaml").unlink()
    assert refusals(row, specs) == {("scores.home", "UnknownInputGroup")}
    declare(specs, {**HOME, "features": ["lat", "city", "street"]}, SEEN)
    place = "scores spec.onDemand.inputs[0].features[2]"
    assert refusals(row, specs) == {(place, "UnknownInputFeature")}


class Named(NamedTuple):
    lat: float


class Tagged(msgspec.Struct, tag=True):
    lat: float


class Undecodable(msgspec.Struct):
    lat: float | list[Home] | Home | Tagged | Score


def rest(row_id: str, **home: Home) -> Score:
    return Score(0.0)


def no_list(ids: list[str], home: Home) -> dict[str, Score]:
    return {}


def taking(annotation: Any) -> Callable[..., Any]:
    """A function of one row with a home of this type."""

    def score(row_id: str, home: Any) -> Score:
        return Score(0.0)

    score.__annotations__ |= {"home": annotation}
    return score


@pytest.mark.parametrize(
    "function",
    [
        rest,
        no_list,
        *map(taking, (Named, None, float | None, Home | HomeData, list[Click], Tagged, Undecodable)),
    ],
)
def test_parameters_that_can_take_no_input_are_refused_where_they_are_declared(
    function: Callable[..., Any],
) -> None:
    """With what they have to be instead."""
    with pytest.raises(SpecInvalid) as refused:
        computing(function)
    (problem,) = refused.value.problems
    assert problem.reason == "ParameterUnfit"
    assert problem.message.startswith("home")


def test_the_openapi_document_knows_inputs() -> None:
    """Rows per input, with features or the records of a timeline."""
    schemas = openapi.document()["components"]["schemas"]
    rows = schemas["AskedRead"]["properties"]["inputs"]["additionalProperties"]
    assert rows["items"] == {"$ref": "#/components/schemas/InputRow"}
    assert {"id", "status", "features", "records", "stale"} == set(schemas["InputRow"]["properties"])
    assert schemas["InputRow"]["required"] == ["id", "status"]


def test_a_great_circle_is_a_quarter_of_the_way_round() -> None:
    """From the equator to a pole, and no way at all to the same place."""
    assert great_circle_miles((0, 0), (90, 17)) == pytest.approx(3958.8 * 3.141592653589793 / 2)
    assert great_circle_miles((40.6, -73.8), (40.6, -73.8)) == 0
