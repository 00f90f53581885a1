"""Rules of ``storage``, ``deletionPolicy`` and ``onDemand``: where rows live and what becomes of them."""

from __future__ import annotations

from typing import Final

from pannier.cel import Rule
from pannier.spec import Spec
from pannier.spec_storage import DedicatedTable

_RESERVED_TAGS: Final = "pannier.dev/"
_TAG_KEY_MAX: Final = 128


def _remote_is_off(spec: Spec) -> bool:
    remote = spec.cache.remote if spec.cache else None
    return remote is None or remote.state in {None, "Disabled"}


def _has_sort_key(spec: Spec) -> bool:
    return spec.key.sort_key is not None and spec.key.sort_key.type != "None"


def _throughput_fits(table: DedicatedTable) -> bool:
    return (table.billing_mode == "Provisioned") == (table.provisioned_throughput is not None)


STORAGE_RULES: Final = (
    Rule(
        at="spec",
        reason="OnDemandMismatch",
        message="storage.mode None and onDemand go together: one computes what the other does not store",
        cel="(self.storage.mode == 'None') == has(self.onDemand)",
        holds=lambda spec: (spec.storage.mode == "None") == (spec.on_demand is not None),
        field="onDemand",
    ),
    Rule(
        at="spec",
        reason="OnDemandTimeline",
        message="a computed group has one record per id; leave key.sortKey out (a List holds many values)",
        cel="!has(self.onDemand) || !has(self.key.sortKey) || self.key.sortKey.type == 'None'",
        holds=lambda spec: spec.on_demand is None or not _has_sort_key(spec),
        field="onDemand",
    ),
    Rule(
        at="spec",
        reason="RemoteCacheForbidden",
        message="a group with storage.mode None must not reach Redis; leave cache.remote.state Disabled",
        cel="self.storage.mode != 'None' || !has(self.cache) || !has(self.cache.remote)"
        " || !has(self.cache.remote.state) || self.cache.remote.state == 'Disabled'",
        holds=lambda spec: spec.storage.mode != "None" or _remote_is_off(spec),
        field="cache.remote.state",
    ),
    Rule(
        at="spec",
        reason="DeletionPolicyMismatch",
        message="only a Dedicated table can be deleted; rows of other groups can only Retain or Expire",
        cel="self.deletionPolicy != 'Delete' || self.storage.mode == 'Dedicated'",
        holds=lambda spec: spec.deletion_policy != "Delete" or spec.storage.mode == "Dedicated",
        field="deletionPolicy",
    ),
    Rule(
        at="spec",
        reason="DeletionPolicyMismatch",
        message="only rows in a Shared table can Expire; a Dedicated table can be retained or deleted",
        cel="self.deletionPolicy != 'Expire' || self.storage.mode == 'Shared'",
        holds=lambda spec: spec.deletion_policy != "Expire" or spec.storage.mode == "Shared",
        field="deletionPolicy",
    ),
    Rule(
        at="spec",
        reason="ExpireNeedsRetention",
        message="deletionPolicy Expire needs retention.seconds: without it no row ever ends",
        cel="self.deletionPolicy != 'Expire' || (has(self.retention) && has(self.retention.seconds))",
        holds=lambda spec: (
            spec.deletion_policy != "Expire"
            or (spec.retention is not None and spec.retention.seconds is not None)
        ),
        field="deletionPolicy",
    ),
    Rule(
        at="spec.storage",
        reason="TableNameMismatch",
        message="mode None has no table; leave tableName out",
        cel="self.mode != 'None' || !has(self.tableName)",
        holds=lambda storage: storage.mode != "None" or storage.table_name is None,
        field="tableName",
    ),
    Rule(
        at="spec.storage",
        reason="TableNameMismatch",
        message="mode Shared needs the tableName of a table that the platform owns",
        cel="self.mode != 'Shared' || has(self.tableName)",
        holds=lambda storage: storage.mode != "Shared" or storage.table_name is not None,
        field="tableName",
    ),
    Rule(
        at="spec.storage",
        reason="DedicatedOnly",
        message="storage.dedicated is for mode Dedicated; settings of a shared table belong to the platform",
        cel="self.mode == 'Dedicated' || !has(self.dedicated)",
        holds=lambda storage: storage.mode == "Dedicated" or storage.dedicated is None,
        field="dedicated",
    ),
    Rule(
        at="spec.storage",
        reason="DedicatedOnly",
        message="adoption IfCompatible is for mode Dedicated",
        cel="self.mode == 'Dedicated' || self.adoption == 'Never'",
        holds=lambda storage: storage.mode == "Dedicated" or storage.adoption == "Never",
        field="adoption",
    ),
    Rule(
        at="spec.storage.dedicated",
        reason="ThroughputMismatch",
        message="provisionedThroughput is required with billingMode Provisioned and forbidden otherwise",
        cel="(self.billingMode == 'Provisioned') == has(self.provisionedThroughput)",
        holds=_throughput_fits,
        field="provisionedThroughput",
    ),
    Rule(
        at="spec.storage.dedicated",
        reason="ThroughputMismatch",
        message="onDemandThroughput is for billingMode PayPerRequest",
        cel="self.billingMode == 'PayPerRequest' || !has(self.onDemandThroughput)",
        holds=lambda table: table.billing_mode == "PayPerRequest" or table.on_demand_throughput is None,
        field="onDemandThroughput",
    ),
    Rule(
        at="spec.storage.dedicated",
        reason="TagKey",
        message="tag keys take 1 to 128 characters and must not begin with pannier.dev/, which is reserved",
        cel="!has(self.tags) || self.tags.all(k, size(k) >= 1 && size(k) <= 128"
        f" && !k.startsWith('{_RESERVED_TAGS}'))",
        holds=lambda table: all(
            1 <= len(key) <= _TAG_KEY_MAX and not key.startswith(_RESERVED_TAGS) for key in table.tags or ()
        ),
        field="tags",
    ),
)
