"""What `examples.flights.demo` asks the sidecar, and how it puts the answers in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """A read, and how to say its answer in a line per record."""

    text: str
    read: dict[str, Any]
    say: Callable[[dict[str, Any]], str]


def lateness(minutes: int) -> str:
    """A delay with its sign: minus means early."""
    return f"{minutes:+} min"


def flight_of_plane(features: dict[str, Any]) -> str:
    """A flight seen from its plane."""
    late = lateness(features["departure_delay_minutes"])
    return f"{features['flight']} {features['origin']}-{features['destination']} {late}"


def departure(features: dict[str, Any]) -> str:
    """A departure seen from its airport."""
    fate = "cancelled" if features["cancelled"] else lateness(features["delay_minutes"])
    return f"{features['flight']} to {features['destination']} {fate}"


def facts(features: dict[str, Any]) -> str:
    """A plane; not every year is known."""
    return "{manufacturer} {model}, {seat_count} seats, built {}".format(
        features.get("year_built", "?"), **features
    )


def weather(features: dict[str, Any]) -> str:
    """An hour's weather."""
    return "{temperature_fahrenheit} °F, wind {wind_speed_mph} mph, sight {visibility_miles} miles".format(
        **features
    )


def delays(features: dict[str, Any]) -> str:
    """A vector of twelve."""
    return " ".join(f"{minutes:.0f}" for minutes in features["monthly_delay_minutes"])


CHRISTMAS_NOON = "2013-12-25T12:00:00-05:00"
QUESTIONS = (
    Question(
        "Flights of plane N328AA",
        {"group": "recent_flights_of_plane", "ids": ["N328AA"], "limit": 3},
        flight_of_plane,
    ),
    Question(
        "Departures from JFK",
        {"group": "recent_departures_of_airport", "ids": ["JFK"], "limit": 3},
        departure,
    ),
    Question("What plane is N328AA?", {"group": "plane_facts", "ids": ["N328AA"]}, facts),
    Question(
        "LGA, Christmas at noon",
        {"group": "airport_hourly_weather", "ids": ["LGA"], "since": CHRISTMAS_NOON, "until": CHRISTMAS_NOON},
        weather,
    ),
    Question(
        "EWR's delays by month",
        {"group": "airport_profile", "ids": ["EWR"], "features": ["monthly_delay_minutes"]},
        delays,
    ),
    Question("A plane nobody knows", {"group": "plane_facts", "ids": ["N0"]}, facts),
)
