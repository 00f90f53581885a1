"""The examples are sound manifests, and the data is read as the manifests say."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from examples.flights import dataset
from examples.flights.load import Journal, Loader, failures, month_range

from pannier.catalog import CatalogGroup
from pannier_sidecar.specs import catalog_from_directory

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def line(**changed: str) -> dict[str, str]:
    """A flight as the file has it, after NA became empty."""
    return {
        "dep_delay": "2",
        "arr_delay": "11",
        "carrier": "UA",
        "flight": "1545",
        "tailnum": "N14228",
        "origin": "EWR",
        "dest": "IAH",
        "air_time": "227",
        "distance": "1400",
        "minute": "15",
        "time_hour": "2013-01-01T10:00:00Z",
        **changed,
    }


def groups(folder: str) -> dict[str, CatalogGroup]:
    """The catalog of an example directory; raises where a manifest is not sound."""
    catalog = catalog_from_directory(EXAMPLES / folder, revision=1)
    return {group.group_name: group for group in catalog.groups}


def test_flights_cover_every_kind_of_group() -> None:
    """The flights show a plain timeline, one with a tie-breaker, records, and all containers."""
    found = groups("flights")
    sort_keys = {name: group.key.sort_key for name, group in found.items()}
    assert set(found) == {
        "recent_flights_of_plane",
        "recent_departures_of_airport",
        "plane_facts",
        "airport_hourly_weather",
        "airport_profile",
    }
    assert found["recent_flights_of_plane"].query.max_limit == 50
    departures = sort_keys["recent_departures_of_airport"]
    assert departures is not None
    assert departures.tie_breaker == "flight"
    assert sort_keys["plane_facts"] is None
    kinds = {feature.type for feature in found["airport_profile"].features}
    assert kinds >= {"List", "Set", "Map", "Vector", "Json"}


def test_karrot_holds_the_founding_documents_group() -> None:
    """The founding document's names and feature order are kept: ids 0 and 1 are stored."""
    found = groups("karrot")["recent_user_clicked_fleaMarketArticles"]
    assert [(feature.id, feature.name) for feature in found.features] == [
        (0, "article_id"),
        (1, "session_id"),
    ]
    assert found.namespace == "reco"
    assert "user_keywords" in groups("karrot")


@pytest.mark.parametrize("group", sorted(groups("flights")))
def test_every_written_feature_is_declared(group: str) -> None:
    """The data set writes no feature that its manifest lacks, and leaves none out that rows do have."""
    year = dataset.YearOfFlights.of({1: flight_lines(line())})
    writes = {
        "recent_flights_of_plane": dataset.plane_flight(line()),
        "recent_departures_of_airport": dataset.airport_departure(line()),
        "plane_facts": dataset.plane_facts(next(iter_lines("planes.csv"))),
        "airport_hourly_weather": dataset.hourly_weather(next(iter_lines("weather.csv"))),
        "airport_profile": year.airport_profile(next(iter_lines("airports.csv"))),
    }
    write = writes[group]
    assert write is not None
    declared = {feature.name for feature in groups("flights")[group].features}
    assert set(write["features"]) <= declared


def flight_lines(*flights: dict[str, str]) -> list[str]:
    """Flights as raw CSV lines."""
    return [",".join(flights[0]), *(",".join(flight.values()) for flight in flights)]


def iter_lines(name: str) -> Any:
    """The parsed lines of a small file of the data set."""
    return dataset.parse(dataset.read_small(dataset.data_directory() / name))


def test_departure_is_the_scheduled_instant_in_utc() -> None:
    """5:15 in New York on New Year's Day is 10:15 UTC; the delay is added for the actual departure."""
    departure = dataset.airport_departure(line())
    assert departure["timestamp"] == 1357035300
    assert departure["features"]["departed_at"] == "2013-01-01T10:17:00Z"


def test_cancelled_flight_has_nulls_and_no_plane_record() -> None:
    """A cancelled flight is known not to have left: null, not absent; no plane flew it."""
    cancelled = line(dep_delay="", arr_delay="", air_time="", tailnum="")
    features = dataset.airport_departure(cancelled)["features"]
    assert features["cancelled"] is True
    assert features["departed_at"] is None
    assert features["delay_minutes"] is None
    assert features["plane"] is None
    assert dataset.plane_flight(cancelled) is None


def test_diverted_flight_has_left_but_not_arrived() -> None:
    """A diverted flight belongs to its plane, with null where the arrival would be."""
    flight = dataset.plane_flight(line(arr_delay="", air_time=""))
    assert flight is not None
    assert flight["features"]["arrival_delay_minutes"] is None
    assert flight["features"]["departure_delay_minutes"] == 2


def test_missing_measurements_are_left_out() -> None:
    """A gust that nobody measured is absent from the write, not null and not zero."""
    cells = dict.fromkeys(dataset.WEATHER_COLUMNS, "1.5") | {"wind_gust": "", "origin": "JFK"}
    write = dataset.hourly_weather({**cells, "time_hour": "2013-01-01T06:00:00Z"})
    assert "wind_gust_mph" not in write["features"]
    assert write["features"]["temperature_fahrenheit"] == 1.5


def test_parse_reads_na_as_missing() -> None:
    """The file spells a missing measurement NA."""
    assert list(dataset.parse(["a,b", "NA,1"])) == [{"a": "", "b": "1"}]


@pytest.mark.parametrize(
    ("text", "months"), [("3", [3]), ("11-12", [11, 12]), ("all", list(range(1, 13))), ("none", [])]
)
def test_months_are_given_as_people_write_them(text: str, months: list[int]) -> None:
    """One month, a range, all, or none but the facts and the weather."""
    assert month_range(text) == months


@pytest.mark.parametrize("text", ["0", "13", "5-3", "may", ""])
def test_months_that_are_none_are_refused(text: str) -> None:
    """What is no month of a year is refused before anything is read."""
    with pytest.raises(ValueError, match=r"months|invalid literal"):
        month_range(text)


class Stub:
    """An endpoint that answers prepared verdicts, to try what a healthy sidecar never says."""

    def __init__(self, *verdicts: str) -> None:
        self.verdicts = list(verdicts)
        self.received: list[list[dict[str, Any]]] = []

    async def write(self, request: web.Request) -> web.Response:
        """Answer every row with the next verdict."""
        writes = msgspec.json.decode(await request.read())["writes"]
        self.received.append(writes)
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if verdict == "503":
            return web.Response(status=503, text="down")
        results = [{"group": w["group"], "id": w["id"], "verdict": verdict, "message": "why"} for w in writes]
        return web.json_response({"results": results})


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def loaded(
    stub: Stub, session: ClientSession, journal: Journal | None = None, rows: int = 3
) -> tuple[dict[str, Counter[str]], Loader]:
    """Load a part of so many rows into the stub."""
    app = web.Application()
    app.router.add_post("/v1/features/write", stub.write)
    writes = [{"group": "g", "id": str(number), "features": {}} for number in range(rows)]
    async with TestServer(app) as server:
        loader = Loader(session, str(server.make_url("")).rstrip("/"), pause_seconds=0)
        part = dataset.Part("part", rows, lambda: iter(writes))
        return await loader.load([part], journal, lambda *_: None), loader


async def test_loader_sends_five_hundred_at_a_time(client: ClientSession) -> None:
    """A request holds as many writes as a sidecar takes, the last one the rest."""
    stub = Stub("written")
    verdicts, _ = await loaded(stub, client, rows=1201)
    assert sorted(map(len, stub.received)) == [201, 500, 500]
    assert verdicts == {"g": Counter(written=1201)}


@pytest.mark.parametrize("fault", ["failed", "unknown", "503"])
async def test_loader_repeats_what_may_not_be_stored(client: ClientSession, fault: str) -> None:
    """Failed and unknown rows are sent again, as writes are idempotent."""
    stub = Stub(fault, fault, "written")
    verdicts, loader = await loaded(stub, client)
    assert verdicts == {"g": Counter(written=3)}
    assert len(stub.received) == 3
    assert not loader.complaints


async def test_loader_reports_rows_that_stay_refused(client: ClientSession, tmp_path: Path) -> None:
    """A row that is never stored counts as failed, is explained, and keeps its part out of the journal."""
    journal = Journal(tmp_path / "loaded")
    verdicts, loader = await loaded(Stub("invalid"), client, journal)
    assert failures(verdicts) == 3
    assert loader.complaints[0] == "g 0: invalid why"
    assert "part" not in Journal(tmp_path / "loaded")


async def test_loader_skips_what_the_journal_knows(client: ClientSession, tmp_path: Path) -> None:
    """A part that was loaded whole is not sent a second time."""
    await loaded(Stub("written"), client, Journal(tmp_path / "loaded"))
    stub = Stub("written")
    verdicts, _ = await loaded(stub, client, Journal(tmp_path / "loaded"))
    assert not stub.received
    assert not verdicts


async def test_loader_survives_a_sidecar_that_is_gone(client: ClientSession) -> None:
    """Nobody listening makes every row unknown, after the attempts, and no exception."""
    loader = Loader(client, "http://127.0.0.1:1", pause_seconds=0)
    part = dataset.Part("part", 1, lambda: iter([{"group": "g", "id": "1", "features": {}}]))
    assert await loader.load([part], None, lambda *_: None) == {"g": Counter(unknown=1)}
