"""A team's feature server: what is computed of an id and of the request, and stored nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from pannier_ondemand import FeatureServer

server = FeatureServer()


class Asked(msgspec.Struct):
    """The context of a read."""

    factor: int = 1


class Score(msgspec.Struct):
    """Features of scores."""

    score: int


@server.computes("scores")
async def scores(users: Sequence[str], context: Asked | None = None) -> Mapping[str, Score | None]:
    """The length of an id, times what the request says; users of one letter are missing."""
    factor = context.factor if context is not None else 1
    return {user: Score(factor * len(user)) if len(user) > 1 else None for user in users}
