"""From FeatureGroups to a catalog, to ConfigMap data, and back."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import a_catalog, a_feature, a_group
from tests.manifests import a_feature_group

from pannier.catalog import Catalog, CatalogGroup
from pannier.catalog_building import catalog_from_specs, next_revision, schema_hash
from pannier.catalog_rendering import MANIFEST, MAX_SHARD_BYTES, parse, render
from pannier.errors import SpecInvalid


def _group(changes: dict[str, Any] | None = None, *, timeline: bool = False) -> CatalogGroup:
    catalog = catalog_from_specs([a_feature_group(changes, timeline=timeline)], revision=1)
    return catalog.groups[0]


def _bytes(files: dict[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


def _edited(files: dict[str, bytes], edit: dict[str, Any]) -> dict[str, bytes]:
    """Change fields of the first group in the data, digests that fit, as a newer release would."""
    shard = msgspec.json.decode(files["groups-000.json"])
    shard["groups"][0] |= edit
    encoded = msgspec.json.encode(shard)
    manifest = msgspec.json.decode(files[MANIFEST])
    manifest["shards"][0]["sha256"] = hashlib.sha256(encoded).hexdigest()
    return files | {"groups-000.json": encoded, MANIFEST: msgspec.json.encode(manifest)}


class TestBuilding:
    """`catalog_from_specs`: everything that was left out is filled in."""

    def test_a_record_group(self) -> None:
        """One row per id, a table named after prefix, namespace and group, rows that live for ever."""
        group = _group()
        assert not group.is_timeline
        assert (group.query.default_limit, group.query.max_limit) == (1, 1)
        assert group.table_name == "pannier.shop.user_facts"
        assert group.retention.seconds is None
        assert [(f.id, f.name, f.type) for f in group.features] == [
            (0, "city", "String"),
            (1, "visits", "Int64"),
        ]

    @pytest.mark.parametrize(
        ("query", "default_limit", "max_limit"),
        [
            ({}, 30, 50),
            ({"maxLimit": 20}, 20, 20),
            ({"defaultLimit": 80}, 80, 80),
            ({"defaultLimit": 5, "maxLimit": 7}, 5, 7),
        ],
    )
    def test_limits_of_a_timeline(self, query: dict[str, int], default_limit: int, max_limit: int) -> None:
        """What is set bounds what is not."""
        group = _group({"query": query}, timeline=True)
        assert (group.query.default_limit, group.query.max_limit) == (default_limit, max_limit)

    @pytest.mark.parametrize(
        ("unit", "width"), [(None, 10), ("Seconds", 10), ("Milliseconds", 13), ("Microseconds", 16)]
    )
    def test_width_follows_the_unit(self, unit: str | None, width: int) -> None:
        """Digits suffice until 2286 without anybody choosing them."""
        sort_key = {"type": "Timestamp"} | ({"unit": unit} if unit else {})
        built = _group({"key.sortKey": sort_key}).key.sort_key
        assert built is not None
        assert (built.unit, built.width) == (unit or "Seconds", width)

    def test_defaults_are_canonical(self) -> None:
        """What is served is the canonical form of what was declared; null is a default, absence is none."""
        features = [
            {"id": 1, "name": "b", "type": "Set", "elementType": "Int64", "default": [3, 1]},
            {"id": 0, "name": "a", "type": "Bool", "default": None},
            {"id": 2, "name": "c", "type": "Bool"},
        ]
        built = _group({"features": features}).features
        assert [feature.id for feature in built] == [0, 1, 2]
        assert [feature.default for feature in built] == ["null", "[1,3]", None]

    def test_namespaces_see_their_own_and_what_they_were_granted(self) -> None:
        """The owner may write, a consumer what it was granted, anybody else sees nothing."""
        group = a_feature_group(
            {"consumers": [{"namespace": "ads"}, {"namespace": "mail", "access": "ReadWrite"}]}
        )
        seen = {
            namespace: [g.access for g in catalog_from_specs([group], revision=1, namespace=namespace).groups]
            for namespace in ("shop", "ads", "mail", "other", None)
        }
        assert seen == {
            "shop": ["ReadWrite"],
            "ads": ["Read"],
            "mail": ["ReadWrite"],
            "other": [],
            None: ["ReadWrite"],
        }

    def test_a_consumer_addresses_the_owners_rows(self) -> None:
        """Namespace and table stay the owner's, so that both share cached entries."""
        group = a_feature_group({"consumers": [{"namespace": "ads"}]})
        (seen,) = catalog_from_specs([group], revision=1, namespace="ads").groups
        assert (seen.namespace, seen.table_name) == ("shop", "pannier.shop.user_facts")

    def test_two_visible_groups_of_one_name_are_refused(self) -> None:
        """Both are named; in catalogs that see only one of them there is no conflict."""
        first = a_feature_group()
        second = a_feature_group({"/metadata.name": "twin", "/metadata.namespace": "ads"})
        with pytest.raises(SpecInvalid, match=r"taken by shop/user-facts; ads/twin needs another"):
            catalog_from_specs([first, second], revision=1)
        assert len(catalog_from_specs([first, second], revision=1, namespace="ads").groups) == 1

    def test_an_on_demand_group_has_no_table(self) -> None:
        """The feature server travels as data, defaults filled in."""
        group = _group(
            {"storage": {"mode": "None"}, "onDemand": {"service": {"name": "scores", "port": 8080}}}
        )
        assert group.table_name is None
        assert group.on_demand == {
            "service": {"name": "scores", "port": 8080, "path": "/v1/features", "scheme": "HTTP"},
            "timeoutMilliseconds": 50,
            "maxConcurrency": 32,
            "onFailure": "Unknown",
        }


class TestSchemaHash:
    """What makes rendered entries stale, and what does not."""

    @pytest.mark.parametrize(
        "change",
        [
            {"features[1].default": 0},
            {"features[1].state": "Removed"},
            {"features[1].name": "calls"},
            {"features[1].type": "Float64"},
            {"features[2]": {"id": 2, "name": "c", "type": "Bool"}},
        ],
    )
    def test_changes_with_what_is_rendered(self, change: dict[str, Any]) -> None:
        """Names, types, states and defaults are part of it."""
        assert _group(change).schema_hash != _group().schema_hash

    @pytest.mark.parametrize(
        "change",
        [
            {"features[1].maxBytes": 9},
            {"features[1].description": "x"},
            {"cache": {"profile": "Cold"}},
            {
                "features": [
                    {"id": 1, "name": "visits", "type": "Int64"},
                    {"id": 0, "name": "city", "type": "String"},
                ]
            },
        ],
    )
    def test_stays_with_everything_else(self, change: dict[str, Any]) -> None:
        """Limits, descriptions, policy and the order of the list do not empty the caches."""
        assert _group(change).schema_hash == _group().schema_hash

    def test_tells_a_null_default_from_none(self) -> None:
        """Declaring null changes what is served."""
        none, null = a_feature(0, "a", "Bool"), a_feature(0, "a", {"type": "Bool", "default": None})
        assert schema_hash([none]) != schema_hash([null])


class TestRendering:
    """ConfigMap data and back."""

    def test_round_trip(self) -> None:
        """Every field of every kind of group survives."""
        catalog = a_catalog(
            a_group("a", features={"x": {"type": "Json", "default": {"k": [1, None]}}, "y": "Vector<3>"}),
            a_group("b", timeline=True, tie_breaker="item", retention=60, retention_basis="EventTime"),
            _group({"storage": {"mode": "None"}, "onDemand": {"service": {"name": "s", "port": 1}}}),
        )
        parsed = parse(_bytes(render(catalog)))
        assert parsed.rejected == ()
        assert parsed.catalog == catalog

    def test_the_same_catalog_gives_the_same_bytes(self) -> None:
        """The order of groups does not matter, so an unchanged catalog causes no write."""
        a, b = a_group("a"), a_group("b")
        assert render(a_catalog(a, b, revision=5)) == render(a_catalog(b, a, revision=5))

    def test_an_empty_catalog_is_a_catalog(self) -> None:
        """A namespace without groups serves none, which is not the same as no catalog."""
        assert parse(_bytes(render(Catalog(revision=9, groups=())))).catalog == Catalog(revision=9, groups=())

    def test_shards_stay_below_what_a_configmap_holds(self) -> None:
        """Two thousand groups spread over files of at most 900 KiB, none lost."""
        names = {f"f{i}": {"type": "String", "description": "d" * 400} for i in range(20)}
        catalog = a_catalog(*(a_group(f"group_{i:04d}", features=names) for i in range(400)))
        files = render(catalog)
        assert len(files) > 4
        assert all(len(text.encode()) <= MAX_SHARD_BYTES for text in files.values())
        assert parse(_bytes(files)).catalog == catalog

    def test_the_largest_group_fits_one_shard(self) -> None:
        """The bounds of the model keep any single group below the limit."""
        feature = {"type": "String", "default": "x" * 2046, "description": "\u1234" * 512}
        features = [{"id": i, "name": f"f{i:062d}", **feature} for i in range(128)]
        (shard,) = (
            text
            for name, text in render(a_catalog(_group({"features": features}))).items()
            if name != MANIFEST
        )
        assert len(shard.encode()) <= MAX_SHARD_BYTES

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            (lambda _: {}, "CatalogMissing"),
            (lambda files: files | {MANIFEST: b"{"}, "CatalogUnreadable"),
            (lambda _: {MANIFEST: b'{"format":1,"revision":1,"shards":["\xff"]}'}, "CatalogUnreadable"),
            (lambda _: {MANIFEST: b'{"format":"\xff","revision":1,"shards":[]}'}, "CatalogUnreadable"),
            (lambda files: files | {MANIFEST: b'{"format":2,"revision":1,"shards":[]}'}, "CatalogFormat"),
            (lambda files: {MANIFEST: files[MANIFEST]}, "CatalogIncomplete"),
            (
                lambda files: (
                    files | {"groups-000.json": files["groups-000.json"].replace(b"String", b"Strinh")}
                ),
                "CatalogDamaged",
            ),
            (lambda files: files | {"groups-000.json": b""}, "CatalogDamaged"),
        ],
    )
    def test_files_that_do_not_fit_together_are_refused_whole(self, damage: Any, reason: str) -> None:
        """Half a catalog would look like groups that are gone."""
        files = _bytes(render(a_catalog(a_group())))
        with pytest.raises(SpecInvalid) as refusal:
            parse(damage(files))
        assert [problem.reason for problem in refusal.value.problems] == [reason]

    def test_unknown_fields_are_ignored(self) -> None:
        """A newer operator may say more than an older sidecar understands."""
        catalog = a_catalog(a_group())
        assert parse(_edited(_bytes(render(catalog)), {"novelty": {"a": 1}})).catalog == catalog

    @pytest.mark.parametrize(
        "edit",
        [
            {"features": [{"id": 0, "name": "x", "type": "Quaternion"}]},
            {"features": [{"id": 0, "name": "x", "type": "Vector"}]},
            {"features": [{"id": 0, "name": "x", "type": "Bool"}, {"id": 0, "name": "y", "type": "Bool"}]},
            {
                "key": {
                    "entity": "u",
                    "maxIdBytes": 9,
                    "sortKey": {"unit": "Seconds", "width": 9, "tieBreaker": "q"},
                }
            },
            {"storageMode": "Orbital"},
            {"policy": None},
        ],
    )
    def test_a_group_that_cannot_be_used_does_not_take_the_others_down(self, edit: dict[str, Any]) -> None:
        """It is named with its problem; the rest is served."""
        files = _bytes(render(a_catalog(a_group("a"), a_group("b"))))
        parsed = parse(_edited(files, edit))
        assert [group.group_name for group in parsed.catalog.groups] == ["b"]
        (rejected,) = parsed.rejected
        assert rejected.group_name == "a"
        assert rejected.problem.message


@given(st.integers(0, 2**53), st.integers(0, 2**53))
def test_revisions_always_rise(previous: int, now_ms: int) -> None:
    """Also with a clock that stands still or goes back, and never below the clock (a catalog made anew)."""
    assert next_revision(previous, now_ms) > previous
    assert next_revision(previous, now_ms) >= now_ms
