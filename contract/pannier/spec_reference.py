"""The reference page of the FeatureGroup, generated from the same models and rules as the CRD.

``make reference`` writes it to docs/reference/featuregroup.md; a test compares the page with the models.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pannier.cel import Rule, TransitionRule
from pannier.crd import Schema, structural
from pannier.policy import CachePolicy, TierPolicy
from pannier.profiles import PROFILES
from pannier.rules import RULES
from pannier.spec import Spec
from pannier.spec_status import Status
from pannier.transitions import TRANSITIONS

_INTRODUCTION: Final = """\
# FeatureGroup

`apiVersion: pannier.dev/v1alpha1`, `kind: FeatureGroup`, namespaced, `kubectl get fg`. The same file works
with `kubectl apply`, with `pannier validate` and with `pannier serve --specs DIR`. This page is made from
`contract/pannier`, and a test compares it with the code.

```yaml
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {name: recent-user-clicks, namespace: reco}
spec:
  groupName: recent_user_clicks
  key: {entity: user, sortKey: {type: Timestamp, unit: Milliseconds}}
  features:
  - {id: 0, name: article_id, type: String}
  - {id: 1, name: session_id, type: String}
  query: {defaultLimit: 30, maxLimit: 50}
  retention: {seconds: 2592000, basis: EventTime}
  cache: {profile: Hot, local: {hardTTLSeconds: 20}}
  storage: {mode: Dedicated}
```

Without a `sortKey` a group is a record: one row per id. How values of each type are written and read as JSON
is told under [Values](http-api.md#values).

```yaml
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {name: article-profile, namespace: reco}
spec:
  groupName: article_profile
  key: {entity: article}
  features:
  - {id: 0, name: title, type: String}
  - {id: 1, name: clicks_by_region, type: Map, elementType: Int64}  # {"seoul": 12, "jeju": 3}
  - {id: 2, name: embedding, type: Vector, dimensions: 128}  # [0.25, -1.5, ...], 128 numbers
  - {id: 3, name: tags, type: Set, elementType: String, default: []}
  - {id: 4, name: raw, type: Json, maxBytes: 65536}  # anything, however deep
  storage: {mode: Shared, tableName: features-online}
```

A timeline keeps one record per id and instant, and the last one written wins. Where several may share an
instant, a `tieBreaker` names the feature that tells them apart; every write has to bring it.

```yaml
apiVersion: pannier.dev/v1alpha1
kind: FeatureGroup
metadata: {name: recent-orders, namespace: shop}
spec:
  groupName: recent_orders
  key: {entity: user, sortKey: {type: Timestamp, unit: Seconds, tieBreaker: order_id}}
  features:
  - {id: 0, name: order_id, type: String, maxBytes: 64}
  - {id: 1, name: amount, type: Float64}
  storage: {mode: Dedicated}
```
"""
_PROFILES: Final = """\
## Cache profiles

A profile fills in what `spec.cache` leaves out; explicit fields win. What is then still unset follows the
explicit hard TTLs: soft and negative TTLs never exceed the hard one, nor the local hard TTL the remote one.
A figure that is written is never overruled: an unset hard TTL is lifted to an explicit soft TTL above it.
Figures of a disabled tier hold once it is enabled. With `storage.mode: None` both tiers are disabled unless
enabled explicitly.
"""


def reference_page() -> str:
    """Build the page."""
    parts = (
        _INTRODUCTION,
        "## Fields of `spec`\n",
        *_table(("field", "type", "default", "meaning"), _field_rows(structural(Spec), "")),
        "\n" + _PROFILES,
        *_table(
            (
                "profile",
                "L1 soft / hard / negative",
                "L2 soft / hard / negative",
                "L1 size",
                "writes",
                "stale",
            ),
            map(_profile_row, PROFILES.values()),
        ),
        "\n## Fields of `status`\n",
        "Written by the operator only. What conditions mean: [the operator](operator.md#conditions).\n",
        *_table(("field", "type", "meaning"), _status_rows()),
        "\n## Rules between fields\n",
        "The API server refuses what breaks one of these, also while no operator runs.\n",
        *_table(("where", "reason", "rule"), map(_rule_row, RULES)),
        "\n## Rules of edits\n",
        "Everything that is not named here may be edited live.\n",
        *_table(("where", "reason", "rule"), map(_rule_row, TRANSITIONS)),
    )
    return "\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) + " |"


def _field_rows(schema: Schema, path: str) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        below = f"{path}{name}"
        default = "required" if name in required else _code(field["default"]) if "default" in field else ""
        yield f"`{below}`", _type(field), default, field.get("description", "")
        yield from _field_rows(field, f"{below}.")
        yield from _field_rows(field.get("items", {}), f"{below}[].")


def _status_rows() -> Iterator[tuple[str, ...]]:
    """Leave the default out: the operator writes everything it knows."""
    return ((name, kind, meaning) for name, kind, _, meaning in _field_rows(structural(Status), ""))


def _type(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(map(_code, field["enum"]))
    kind = field.get("type", "any JSON")
    bounds = [(field.get(low), field.get(high)) for low, high in _BOUNDS if {low, high} & field.keys()]
    return " ".join(
        [
            kind,
            *(
                "..".join("" if bound is None else str(bound) for bound in (low, high))
                for low, high in bounds
            ),
        ]
    )


_BOUNDS: Final = (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems"))


def _code(value: Any) -> str:
    return f"`{value}`"


def _profile_row(policy: CachePolicy) -> tuple[str, ...]:
    size = f"{(policy.local.max_bytes or 0) // 1024**2} MiB"
    stale = f"{policy.stale_if_error_seconds} s"
    return policy.profile, _tier(policy.local), _tier(policy.remote), size, policy.write_policy, stale


def _tier(tier: TierPolicy) -> str:
    figures = f"{tier.soft_ttl_seconds} / {tier.hard_ttl_seconds} / {tier.negative_ttl_seconds} s"
    return figures if tier.is_served else f"disabled ({figures})"


def _rule_row(rule: Rule | TransitionRule) -> tuple[str, ...]:
    return f"`{'.'.join(filter(None, (rule.at, rule.field)))}`", rule.reason, rule.message


if __name__ == "__main__":
    sys.stdout.write(reference_page())
