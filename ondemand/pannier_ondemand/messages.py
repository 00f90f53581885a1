"""What is said between a sidecar and a feature server, version 1; the OpenAPI document is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

VERSION: Final = "1"
MAX_IDS: Final = 1_000


_RawObject = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]


class InputRecord(msgspec.Struct, frozen=True):
    """One record of a timeline that is an input."""

    timestamp: Annotated[int, msgspec.Meta(description="In the unit of the timeline's sort key.")]
    features: _RawObject


class InputRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A row of an input, as a sidecar answers it. Fields that this release does not know are ignored."""

    id: Annotated[str, msgspec.Meta(description="Of the input's own group.")]
    status: Annotated[
        Literal["found", "missing", "unknown"],
        msgspec.Meta(description="A sidecar passes no unknown row: it answers by itself that it is."),
    ]
    features: _RawObject | msgspec.UnsetType = msgspec.UNSET
    records: Annotated[
        tuple[InputRecord, ...] | msgspec.UnsetType,
        msgspec.Meta(description="Of a timeline, newest first, instead of features."),
    ] = msgspec.UNSET
    stale: Annotated[bool, msgspec.Meta(description="Served past its hard TTL, since its store failed.")] = (
        False
    )


class AskedRead(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows of one group to be computed. Fields that this release does not know are ignored."""

    group: str
    schema_hash: Annotated[str, msgspec.Meta(description="By which schema the answer will be read.")]
    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_IDS)]
    features: Annotated[
        tuple[str, ...], msgspec.Meta(description="Which are answered; empty = all that the schema has.")
    ] = ()
    context: Annotated[
        msgspec.Raw | msgspec.UnsetType,
        msgspec.Meta(extra_json_schema={"type": "object"}, description="What the app gave with its read."),
    ] = msgspec.UNSET
    inputs: Annotated[
        dict[str, tuple[InputRow, ...]],
        msgspec.Meta(description="Per declared input, rows aligned with ids."),
    ] = {}


class Call(msgspec.Struct, frozen=True):
    """The body of a request."""

    reads: Annotated[tuple[AskedRead, ...], msgspec.Meta(min_length=1)]


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one id."""

    id: str
    status: Literal["found", "missing", "unknown"]
    features: dict[str, Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={})]] = {}
    reason: str = ""
    message: str = ""


class ReadError(msgspec.Struct, frozen=True):
    """Why a whole read is not answered."""

    reason: str
    detail: str


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to one read, in the order asked: rows, or an error in their place."""

    group: str
    rows: tuple[Row, ...] | msgspec.UnsetType = msgspec.UNSET
    error: ReadError | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct, frozen=True):
    """The body of a 200."""

    results: tuple[Result, ...]


class ProblemDetails(msgspec.Struct, frozen=True):
    """RFC 9457: a request that is refused as a whole."""

    type: str
    title: str
    status: int
    reason: str
    detail: str


class Unknown(Exception):
    """This row cannot be computed now: raised by a function of one row, or a value in a batch's mapping."""

    def __init__(self, message: str, *, reason: str = "NotComputable") -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


class ReadRefused(Exception):
    """A whole read is not answered; ``reason`` and ``detail`` go into its result."""

    def __init__(self, reason: str, detail: str) -> None:
        self.error = ReadError(reason, detail)
        super().__init__(detail)


class CallRefused(Exception):
    """A whole call is not answered."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        self.problem = ProblemDetails(f"urn:pannier:problem:{reason}", reason, status, reason, detail)
        super().__init__(detail)


Computed = Any
"""What a function said of one id: features, None = missing, or `Unknown`."""
