"""The table of every metric that a sidecar serves: name, kind, labels, and what it means to who reads it.

`pannier_sidecar.exposition` fills it in; ``docs/reference/metrics.md`` is made of it.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple


class Family(NamedTuple):
    """One metric: what it is called, what it is labelled by, what it means."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


FAMILIES: Final = (
    Family(
        "pannier_rows_read_total",
        "counter",
        ("group", "outcome"),
        "Rows answered, each in one outcome: found in l1, l2, l3 or on_demand; negative (missing, known from"
        " a cache); missing (L3 said so just now); unknown (no tier answered); stale (past the hard TTL,"
        " under stale-if-error).",
    ),
    Family(
        "pannier_rows_outdated_total",
        "counter",
        ("group",),
        "Rows whose event time was older than the max_age_seconds of the read.",
    ),
    Family(
        "pannier_deprecated_features_read_total",
        "counter",
        ("group",),
        "Deprecated features that reads named; at zero they can be removed.",
    ),
    Family(
        "pannier_refreshes_total",
        "counter",
        ("group", "kind"),
        "Background refreshes of L1 entries: early (by dice before the soft deadline) or soft (past it).",
    ),
    Family("pannier_l3_lookups_total", "counter", ("group",), "Keys looked up in L3."),
    Family("pannier_l3_missing_total", "counter", ("group",), "Keys looked up in L3 that it does not hold."),
    Family(
        "pannier_leases_total",
        "counter",
        ("group", "event"),
        "Keys to load from L3 that other sidecars might want as well: won (loaded here for all), waited"
        " (another did, the value came through L2), left (another did, what is held was served on), spared"
        " (L2 had been filled just then), gave_up (nobody brought it in time, so it was loaded here), expired"
        " (a lease of this sidecar ran out before its load ended).",
    ),
    Family(
        "pannier_load_duration_seconds",
        "histogram",
        ("tier", "group"),
        "Time one load of a group's keys took in a tier.",
    ),
    Family(
        "pannier_served_age_seconds",
        "histogram",
        ("group",),
        "Age of served values: time since L3 said so.",
    ),
    Family("pannier_writes_total", "counter", ("group", "verdict"), "Writes by what became of them."),
    Family(
        "pannier_records_replaced_total",
        "counter",
        ("group",),
        "Timeline records that replaced another record of the same instant; a tie-breaker would keep both.",
    ),
    Family("pannier_backfill_events_total", "counter", ("event",), "What the background writer of L2 did."),
    Family("pannier_backfill_queue_entries", "gauge", (), "Entries waiting to be written to L2."),
    Family("pannier_backfill_unconfirmed_entries", "gauge", (), "Writes whose L2 step is not confirmed yet."),
    Family(
        "pannier_invalidations_total",
        "counter",
        ("group", "event"),
        "Written ids that sidecars tell each other of: published by this one, refused (Redis lets it not"
        " publish); heard from others: dropped or amended in L1, known (L1 held that revision or newer),"
        " unheld; own (heard back), unreadable and denied (Redis lets it not listen) messages.",
    ),
    Family(
        "pannier_invalidation_delay_seconds",
        "histogram",
        (),
        "Time from L3's acknowledgement of a write through another sidecar, by its clock, to hearing of it.",
    ),
    Family("pannier_invalidation_messages_total", "counter", (), "Messages that this sidecar published."),
    Family(
        "pannier_invalidation_deliveries_total",
        "counter",
        (),
        "Messages of this sidecar times the sidecars that Redis handed each to: what fan-out costs Redis.",
    ),
    Family(
        "pannier_invalidation_listening",
        "gauge",
        (),
        "1 while writes through other sidecars are heard of, 0 while not; absent without a Redis.",
    ),
    Family("pannier_invalidation_losses_total", "counter", (), "Times that the subscription was lost."),
    Family(
        "pannier_l1_epoch",
        "gauge",
        (),
        "Rises when announcements may have been missed; entries of an older epoch count as soft-expired.",
    ),
    Family(
        "pannier_consistency_checks_total",
        "counter",
        ("group", "sample", "after", "outcome"),
        "Sampled hits and invalidations held against a strongly consistent read of L3, so many seconds"
        " after: consistent; stale (L3 says otherwise, and this sidecar would serve the old answer still);"
        " overtaken (a write came in between, so it cannot be told); unknown (L3 gave no answer).",
    ),
    Family(
        "pannier_consistency_stale_for_seconds",
        "histogram",
        ("group",),
        "How long a stale hit's value had been superseded when it was served, where event times tell.",
    ),
    Family(
        "pannier_shadow_total",
        "counter",
        ("group", "tier", "outcome"),
        "What a tier in state Shadow would have answered, against what the tiers below it did: agree; differ;"
        " newer (it knew of a write that an eventually consistent read did not show); miss (no usable entry);"
        " unknown (one of the two gave no answer).",
    ),
    Family("pannier_l1_bytes", "gauge", ("group",), "Bytes that L1 holds."),
    Family("pannier_l1_entries", "gauge", ("group",), "Entries that L1 holds."),
    Family(
        "pannier_l1_stores_total", "counter", ("group",), "Entries that L1 took in for ids it did not hold."
    ),
    Family("pannier_l1_evictions_total", "counter", ("group",), "Entries that L1 dropped for lack of room."),
    Family(
        "pannier_l1_turned_away_total",
        "counter",
        ("group",),
        "Loaded entries that L1 did not take in, since its admission waits for a second load.",
    ),
    Family("pannier_l1_limit_bytes", "gauge", (), "Upper bound of L1's bytes in this process."),
    Family(
        "pannier_tier_errors_total", "counter", ("tier", "reason"), "Calls to a tier that gave no answer."
    ),
    Family(
        "pannier_tier_circuit_state",
        "gauge",
        ("tier", "state"),
        "1 for the state the tier's circuit breaker is in, 0 for the others.",
    ),
    Family("pannier_catalog_revision", "gauge", (), "Revision of the catalog that is served; 0 = none yet."),
    Family(
        "pannier_catalog_operator_heard",
        "gauge",
        (),
        "Whether the operator's catalog endpoint answers; absent without --operator-url.",
    ),
    Family("pannier_catalog_groups", "gauge", (), "Groups in the catalog that is served."),
    Family(
        "pannier_catalog_problems",
        "gauge",
        ("reason",),
        "Why something of the mounted catalog is not served; the last good version is served on.",
    ),
    Family(
        "pannier_problems_total",
        "counter",
        ("reason",),
        "Requests, and reads within one, that were answered with a problem.",
    ),
    Family(
        "pannier_shed_total",
        "counter",
        ("kind",),
        "What was not begun because too much was under way: a read or write request (answered 503), a"
        " refresh (put off, the entry is served on), a bulk call to a tier (l2_read, l3_read, l3_write).",
    ),
    Family(
        "pannier_hedges_total",
        "counter",
        ("event",),
        "Reads of L3 that were late: a second try was sent, won (was the first to answer), or withheld (its"
        " budget, a nearly full bulkhead or throttling forbade it).",
    ),
    Family(
        "pannier_in_flight",
        "gauge",
        ("room",),
        "Under way now: reads that L1 cannot answer alone and refreshes (read), write requests (write), calls"
        " to tiers (l2_read, l3_read, l3_write).",
    ),
    Family(
        "pannier_in_flight_limit",
        "gauge",
        ("room",),
        "How many may be under way; of read and write it falls while the event loop is late.",
    ),
    Family(
        "pannier_loop_delay_seconds",
        "histogram",
        (),
        "How late the event loop runs, looked at a hundred times a second.",
    ),
    Family(
        "pannier_loop_work_seconds",
        "histogram",
        (),
        "How much of each of these delays was its own work; else it waited, for a core, a lock or a disk.",
    ),
    Family("pannier_build_info", "gauge", ("version",), "Always 1; the version is the label."),
)
