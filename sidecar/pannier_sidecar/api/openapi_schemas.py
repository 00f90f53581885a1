"""Schemas of the OpenAPI document: derived from the types of bodies; those of answers are written here.

Answers are spliced from bytes and have no type to derive from; tests hold real answers against these schemas.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from pannier.catalog import CatalogGroup
from pannier_sidecar.api.invalidate_requests import MAX_INVALIDATED_IDS, InvalidateRequest
from pannier_sidecar.api.problems import ProblemDetails
from pannier_sidecar.api.read_requests import MAX_IDS_PER_READ, MAX_READS, MAX_TIMEOUT_MS, ReadRequest
from pannier_sidecar.api.row_answers import VerdictProblem
from pannier_sidecar.api.write_requests import MAX_WRITES, RowBody, WriteItem, WriteRequest
from pannier_sidecar.write_path import WriteResult

Schema = dict[str, Any]

_TEMPLATE: Final = "#/components/schemas/{name}"
_TYPED: Final = (
    ReadRequest,
    WriteRequest,
    WriteItem,
    RowBody,
    InvalidateRequest,
    WriteResult,
    ProblemDetails,
    VerdictProblem,
    CatalogGroup,
)
_MOMENT: Final = "integer in the group's unit, RFC 3339, or relative to now such as -7d"
_NOTES: Final[dict[tuple[str, str], Schema]] = {
    ("ReadRequest", "reads"): {"minItems": 1, "maxItems": MAX_READS},
    ("ReadRequest", "timeout_ms"): {
        "description": f"Budget, at most {MAX_TIMEOUT_MS}; what is not back in time is `unknown`."
    },
    ("ReadRequest", "explain"): {"description": "Say per row where it came from, and time the stages."},
    ("Read", "ids"): {"maxItems": MAX_IDS_PER_READ},
    ("Read", "features"): {"description": "Names; absent means all that are served."},
    ("Read", "limit"): {"description": "Newest records to give, at most the group's maxLimit."},
    ("Read", "since"): {"description": f"Inclusive: {_MOMENT}."},
    ("Read", "until"): {"description": f"Inclusive: {_MOMENT}."},
    ("Read", "max_age_seconds"): {"description": "Rows whose event time is older are marked `outdated`."},
    ("Read", "context"): {"description": "For groups that are computed: what the server computes with."},
    ("WriteRequest", "writes"): {"maxItems": MAX_WRITES, "items": {"$ref": "#/components/schemas/WriteItem"}},
    ("WriteItem", "features"): {"description": "Values by feature name; null is a value."},
    ("WriteItem", "event_time"): {"description": "Records: RFC 3339 or integer microseconds."},
    ("WriteItem", "timestamp"): {"description": "Timelines: which record, in the group's unit or RFC 3339."},
    ("InvalidateRequest", "ids"): {"maxItems": MAX_INVALIDATED_IDS},
}
_FEATURES: Final[Schema] = {
    "type": "object",
    "description": "Values by feature name.",
    "additionalProperties": True,
}
_DEFAULTED: Final[Schema] = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Features that the row lacks and that are served as the spec's default.",
}


def _closed(required: list[str], properties: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _ref(name: str) -> Schema:
    return {"$ref": _TEMPLATE.format(name=name)}


_ROW: Final[Schema] = {
    "id": {"type": "string"},
    "status": {
        "enum": ["found", "missing", "unknown"],
        "description": "unknown: no tier could say; it is never cached and never reported as missing.",
    },
    "features": _FEATURES,
    "defaulted": _DEFAULTED,
    "records": {"type": "array", "items": _ref("Record"), "description": "Timelines: newest first."},
    "more": {"const": True, "description": "Older records in the range exist."},
    "stale": {"const": True, "description": "Served past its hard TTL because L3 failed."},
    "outdated": {"const": True, "description": "Older than the read's max_age_seconds."},
    "source": {"enum": ["l1", "l2", "l3", "on_demand"], "description": "With explain: the tier."},
    "age_seconds": {"type": "number", "minimum": 0, "description": "With explain: since L3 said so."},
    "event_time": {"type": "string", "format": "date-time", "description": "With explain."},
    "reason": {"type": "string", "description": "Why the row is unknown, in one word."},
    "message": {"type": "string", "description": "Why the row is unknown, in a sentence."},
}
_RANGE: Final[Schema] = {
    "description": "The lower bound that was used, where the group's maxLookbackSeconds clamped it.",
    "anyOf": [{"type": "integer"}, {"type": "string"}],
}
_ANSWERS: Final[dict[str, Schema]] = {
    "Record": _closed(
        ["timestamp", "features"],
        {
            "timestamp": {"type": "integer"},
            "features": _FEATURES,
            "defaulted": _DEFAULTED,
            "event_time": _ROW["event_time"],
        },
        "One record of a timeline; the timestamp is in the group's unit.",
    ),
    "Row": _closed(["id", "status"], _ROW, "One id of one read."),
    "RowDocument": _closed(
        ["group", "id", "status"],
        {"group": {"type": "string"}, "since": _RANGE, **_ROW},
        "One row as a resource.",
    ),
    "ReadResult": {
        "oneOf": [
            _closed(
                ["group", "rows"],
                {
                    "group": {"type": "string"},
                    "since": _RANGE,
                    "rows": {"type": "array", "items": _ref("Row")},
                },
                "A read that was answered, rows in the order of the ids asked.",
            ),
            _closed(
                ["group", "error"],
                {"group": {"type": "string"}, "error": _ref("ProblemDetails")},
                "A read that could not be answered as asked; the others were.",
            ),
        ]
    },
    "ReadAnswer": _closed(
        ["results"],
        {"results": {"type": "array", "items": _ref("ReadResult")}},
        "One result per read, in the order asked.",
    ),
    "WriteAnswer": _closed(
        ["results"],
        {"results": {"type": "array", "items": _ref("WriteResult")}},
        "One verdict per write, in the order given.",
    ),
    "InvalidateAnswer": _closed(
        ["group", "invalidated"],
        {"group": {"type": "string"}, "invalidated": {"type": "integer", "minimum": 0}},
        "How many ids are distrusted now.",
    ),
    "GroupSummary": _closed(
        ["group", "kind", "namespace", "resource", "generation", "entity", "features", "access", "profile"],
        {
            "group": {"type": "string"},
            "kind": {"enum": ["record", "timeline"]},
            "namespace": {"type": "string"},
            "resource": {"type": "string"},
            "generation": {"type": "integer"},
            "entity": {"type": "string"},
            "features": {"type": "integer"},
            "access": {"enum": ["Read", "ReadWrite"]},
            "profile": {"type": "string"},
        },
        "One line of the list of groups.",
    ),
    "GroupList": _closed(
        ["revision", "groups"],
        {"revision": {"type": "integer"}, "groups": {"type": "array", "items": _ref("GroupSummary")}},
        "All groups that this sidecar serves.",
    ),
}


def schemas() -> dict[str, Schema]:
    """All named schemas."""
    _, derived = msgspec.json.schema_components(_TYPED, ref_template=_TEMPLATE)
    for (name, field), note in _NOTES.items():
        derived[name]["properties"][field].update(note)
    for schema in derived.values():
        schema["description"] = re.sub(r"``|(?<!\w)`(?!`)", "`", schema.get("description", ""))
    return {**derived, **_ANSWERS, "GroupDocument": _group_document(derived["CatalogGroup"])}


def _group_document(catalog_group: Schema) -> Schema:
    """One group as ``/v1/groups/{group}`` shows it: its part of the catalog under the API's names."""
    properties = {name: schema for name, schema in catalog_group["properties"].items() if name != "groupName"}
    return {
        "type": "object",
        "description": "A group with its features, key, limits, retention and resolved cache policy.",
        "required": [
            "revision",
            "group",
            "kind",
            *(n for n in catalog_group["required"] if n != "groupName"),
        ],
        "properties": {
            "revision": {"type": "integer"},
            "group": {"type": "string"},
            "kind": {"enum": ["record", "timeline"]},
            **properties,
        },
    }
