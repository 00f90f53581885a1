"""The trace that a request belongs to (W3C Trace Context), for calls that are made on its behalf.

A sidecar passes it on to feature servers, and the kit's functions to whomever they ask. A load that several
requests share belongs to the one that began it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_NAMES: Final = ("traceparent", "tracestate")
_MOST_BYTES: Final = 1024
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_current: Final[ContextVar[Mapping[str, str]]] = ContextVar("trace_context", default=_NONE)


def enter_trace(headers: Mapping[str, str]) -> None:
    """Take a request's trace over for all that is done for it; the next one of a connection has its own."""
    found = {name: headers[name] for name in _NAMES if name in headers}
    _current.set(found if sum(map(len, found.values())) <= _MOST_BYTES else _NONE)


def trace_headers() -> Mapping[str, str]:
    """Headers that carry the trace on; none where the request brought none."""
    return _current.get()
