"""Real flights through the whole sidecar on the embedded store: what comes out is what pandas says went in.

The expected figures take another way than the loader: local times are localized by pandas, not read from
``time_hour``, and departures come from ``dep_time``, not from the delay.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from aiohttp import ClientSession
from examples.flights import dataset
from examples.flights.load import Loader

from pannier_sidecar.app import build
from pannier_sidecar.settings import load as settings_from

SPECS = Path(__file__).resolve().parents[2] / "examples" / "flights"
MONTH = 2
ROWS_OF_A_PART = 1500


@dataclass
class Loaded:
    """A sidecar that holds the beginning of February, and what the loader said."""

    url: str
    session: ClientSession
    loader: Loader
    loads: list[dataset.Part]
    verdicts: dict[str, Counter[str]]

    async def read(self, group: str, ids: list[str], **asked: Any) -> list[dict[str, Any]]:
        """The rows of one read."""
        body = {"reads": [{"group": group, "ids": ids, **asked}], "timeout_ms": 10_000}
        async with self.session.post(f"{self.url}/v1/features/read", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
        rows: list[dict[str, Any]] = answer["results"][0]["rows"]
        return rows


@pytest.fixture(scope="module")
def loads() -> list[dataset.Part]:
    """The first rows of each part of one month."""
    return [beginning(part) for part in dataset.parts(dataset.data_directory(), [MONTH])]


def beginning(part: dataset.Part) -> dataset.Part:
    return replace(
        part, size=min(part.size, ROWS_OF_A_PART), writes=lambda: islice(part.writes(), ROWS_OF_A_PART)
    )


@pytest.fixture
async def loaded(tmp_path: Path, loads: list[dataset.Part]) -> AsyncIterator[Loaded]:
    settings = settings_from(
        {
            "specs": str(SPECS),
            "store": "embedded",
            "data_dir": str(tmp_path),
            "http": "127.0.0.1:0",
            "admin": "127.0.0.1:0",
        },
        {},
    )
    async with build(settings) as sidecar, ClientSession() as session:
        url = sidecar.data.urls[0]
        loader = Loader(session, url)
        verdicts = await loader.load(loads, None, lambda *_: None)
        yield Loaded(url, session, loader, loads, verdicts)


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """The flights that were loaded, with UTC instants derived by pandas from local times."""
    whole = pd.read_csv(dataset.data_directory() / "flights.csv.zip")
    frame = whole[whole.month == MONTH].copy()
    local = pd.to_datetime(frame[["year", "month", "day", "hour", "minute"]])
    frame["scheduled"] = local.dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    frame["scheduled_epoch"] = frame.scheduled.map(lambda instant: int(instant.timestamp()))
    frame["name"] = frame.carrier + frame.flight.astype(str)
    return frame


async def test_every_row_is_written_once_and_again(loaded: Loaded) -> None:
    """Loading writes each row; loading once more finds nothing to refuse and changes no answer."""
    sizes = Counter[str]()
    for part in loaded.loads:
        sizes.update(write["group"] for write in part.writes())
    assert loaded.verdicts == {group: Counter(written=size) for group, size in sizes.items()}
    before = await loaded.read("recent_departures_of_airport", ["JFK", "LGA", "EWR"], limit=50)
    assert await loaded.loader.load(loaded.loads, None, lambda *_: None) == loaded.verdicts
    assert await loaded.read("recent_departures_of_airport", ["JFK", "LGA", "EWR"], limit=50) == before


async def test_newest_departures_come_first_ties_by_flight(loaded: Loaded, flights: pd.DataFrame) -> None:
    """An airport's newest fifty are those of the schedule, and flights of one minute stand side by side."""
    at_jfk = flights.head(ROWS_OF_A_PART).query("origin == 'JFK'")
    expected = at_jfk.sort_values(["scheduled_epoch", "name"], ascending=False).head(50)
    assert expected.scheduled_epoch.duplicated().any()
    [row] = await loaded.read("recent_departures_of_airport", ["JFK"], limit=50)
    got = [(record["timestamp"], record["features"]["flight"]) for record in row["records"]]
    assert got == list(zip(expected.scheduled_epoch, expected.name, strict=True))
    assert row["more"] is True


async def test_departures_are_null_where_cancelled_and_right_where_not(
    loaded: Loaded, flights: pd.DataFrame
) -> None:
    """departed_at is the local dep_time of the file in UTC; a cancelled flight has null."""
    hour = (flights.head(ROWS_OF_A_PART).query("dep_time.isna() and origin == 'LGA'")).scheduled_epoch.iloc[0]
    [row] = await loaded.read(
        "recent_departures_of_airport", ["LGA"], since=int(hour), until=int(hour) + 3600
    )
    expected = flights.set_index(["origin", "scheduled_epoch", "name"])
    assert any(record["features"]["cancelled"] for record in row["records"])
    for record in row["records"]:
        features = record["features"]
        line = expected.loc[("LGA", record["timestamp"], features["flight"])]
        assert features["cancelled"] == math.isnan(line.dep_time)
        assert (features["delay_minutes"] is None) == features["cancelled"]
        if not features["cancelled"]:
            local = pd.Timestamp(features["departed_at"]).tz_convert("America/New_York")
            assert local.hour * 100 + local.minute == line.dep_time % 2400
        assert (features["plane"] is None) == (not isinstance(line.tailnum, str))


async def test_flights_of_a_plane_add_up(loaded: Loaded, flights: pd.DataFrame) -> None:
    """The busiest plane's miles and delays are those of the table."""
    flown = flights.dropna(subset=["tailnum", "dep_delay"]).head(ROWS_OF_A_PART)
    plane = flown.tailnum.value_counts().index[0]
    expected = flown[flown.tailnum == plane]
    [row] = await loaded.read("recent_flights_of_plane", [plane], limit=50)
    features = [record["features"] for record in row["records"]]
    assert len(features) == len(expected)
    assert sum(flight["distance_miles"] for flight in features) == expected.distance.sum()
    assert sum(flight["departure_delay_minutes"] for flight in features) == expected.dep_delay.sum()
    assert sum(flight["arrival_delay_minutes"] or 0 for flight in features) == expected.arr_delay.sum()


async def test_plane_facts_leave_out_what_nobody_knows(loaded: Loaded) -> None:
    """An unknown year is absent, the undeclared carrier is the default, an unknown plane is missing."""
    planes = pd.read_csv(dataset.data_directory() / "planes.csv").head(ROWS_OF_A_PART)
    undated = planes[planes.year.isna()].tailnum.iloc[0]
    dated = planes[planes.year.notna()].iloc[0]
    unknown_year, known, nobody = await loaded.read("plane_facts", [undated, dated.tailnum, "N0"])
    assert "year_built" not in unknown_year["features"]
    assert known["features"]["year_built"] == dated.year
    assert known["features"]["seat_count"] == dated.seats
    assert known["features"]["home_carrier"] == "unknown"
    assert known["defaulted"] == ["home_carrier"]
    assert nobody == {"id": "N0", "status": "missing"}


async def test_weather_of_a_range_is_complete(loaded: Loaded) -> None:
    """A range of hours holds each measured hour once, with missing measurements left out."""
    weather = pd.read_csv(dataset.data_directory() / "weather.csv").head(ROWS_OF_A_PART)
    expected = weather.query("origin == 'EWR' and month == 1 and day == 2").sort_values("time_hour")
    [row] = await loaded.read(
        "airport_hourly_weather",
        ["EWR"],
        since=expected.time_hour.min(),
        until=expected.time_hour.max(),
        limit=48,
    )
    records = row["records"][::-1]
    assert [record["features"]["temperature_fahrenheit"] for record in records] == list(expected.temp)
    gusts = [record["features"].get("wind_gust_mph") for record in records]
    assert gusts == [None if math.isnan(gust) else gust for gust in expected.wind_gust]


async def test_airport_profile_holds_every_container(loaded: Loaded) -> None:
    """List, Set, Map, Vector and Json come back as pandas computes them from the whole year."""
    flights = pd.read_csv(dataset.data_directory() / "flights.csv.zip")
    airports = pd.read_csv(dataset.data_directory() / "airports.csv").set_index("faa")
    newark, atlanta, quiet = await loaded.read("airport_profile", ["EWR", "ATL", "04G"])
    from_newark = flights[flights.origin == "EWR"]
    features = newark["features"]
    assert features["destinations"] == sorted(from_newark.dest.unique())
    assert features["position"] == [airports.lat.EWR, airports.lon.EWR]
    assert features["monthly_delay_minutes"] == pytest.approx(
        list(from_newark.groupby("month").dep_delay.mean()), rel=1e-6
    )
    assert features["details"]["time_zone"] == {"name": "America/New_York", "utc_offset_hours": -5}
    arrived = flights[flights.arr_delay.notna() & (flights.dest == "ATL")]
    assert atlanta["features"]["arrivals_by_carrier"] == arrived.carrier.value_counts().to_dict()
    assert quiet["features"]["destinations"] == []
    assert quiet["features"]["arrivals_by_carrier"] == {}
    assert "arrivals_by_carrier" in quiet["defaulted"]
