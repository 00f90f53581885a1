"""What a replica is, leading or not: its settings, its name, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass

from pannier_operator.clock import Clock
from pannier_operator.kube.credentials import Credentials
from pannier_operator.liveness import CHECK_SECONDS
from pannier_operator.metrics import Metrics
from pannier_operator.on_demand.servers import LOOK_AGAIN_SECONDS
from pannier_operator.settings import Settings
from pannier_operator.watching import SILENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is taken for quiet."""

    check_seconds: float = CHECK_SECONDS
    """Between two checks."""
    silence_seconds: float = SILENCE_SECONDS
    """How long the stream of a watch may bring nothing before it is opened anew."""
    server_seconds: float = LOOK_AGAIN_SECONDS
    """The longest between two looks at a feature server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What a replica is, leading or not."""

    settings: Settings
    credentials: Credentials
    identity: str
    metrics: Metrics
    clock: Clock
    patience: Patience
