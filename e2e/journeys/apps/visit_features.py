"""A team's feature server: one group from another's features and the request, one from nothing but the id."""

import msgspec

from pannier_ondemand import FeatureServer

server = FeatureServer()


class Facts(msgspec.Struct):
    """What the sidecar reads first and passes along."""

    visits: int


class Asked(msgspec.Struct):
    """What the app gives with its read."""

    weight: float


class Score(msgspec.Struct):
    """Features of visit_score."""

    score: float


class Length(msgspec.Struct):
    """Features of name_length."""

    letters: int


@server.computes("visit_score")
def score(_user: str, facts: Facts, context: Asked) -> Score:
    """Nothing of a user who is not stored."""
    return Score(facts.visits * context.weight)


@server.computes("name_length")
def name_length(user: str) -> Length:
    """Of any id."""
    return Length(len(user))
