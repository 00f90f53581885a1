"""What is counted of the channels on which sidecars tell each other of writes."""

from __future__ import annotations

from typing import Final, Literal

from pannier_sidecar.instruments import Histogram

DELAY_BUCKETS_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)


class SubscriptionCounts:
    """Plain integers to add to, and what the subscription is doing."""

    def __init__(self) -> None:
        self.state: Literal["absent", "starting", "listening", "lost"] = "absent"
        """``absent``: there is no Redis to listen to."""
        self.losses = 0
        self.published = 0
        self.delivered = 0
        self.delay = Histogram(DELAY_BUCKETS_SECONDS)
        self.epoch = 0

    def __repr__(self) -> str:
        return f"<SubscriptionCounts {self.state}, {self.losses} losses, epoch {self.epoch}>"
