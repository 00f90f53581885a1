"""Writes as messages to the other sidecars: one per group, on the channel named like the group's keys."""

from __future__ import annotations

from collections.abc import Sequence

from pannier_sidecar.backfill_queue import Entry, Waiting
from pannier_sidecar.entry import announcement
from pannier_sidecar.tiers.l2 import Message


def messages_of(sender: bytes, writes: Sequence[Waiting]) -> dict[str, Message]:
    """Messages by channel; whatever a batch holds of a group goes into one."""
    groups: dict[str, list[tuple[str, int, Entry]]] = {}
    for key, entry, _size, acknowledged_at_us in writes:
        groups.setdefault(key.plan.cache_prefix, []).append((key.id, acknowledged_at_us, entry))
    return {
        channel: Message(channel, announcement.encode(sender, changes)) for channel, changes in groups.items()
    }
