"""The trace a call belongs to (W3C Trace Context), for calls that the function makes on its behalf."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Final

_NAMES: Final = ("traceparent", "tracestate")
_MOST_BYTES: Final = 1024
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_current: Final[ContextVar[Mapping[str, str]]] = ContextVar("pannier_ondemand_trace", default=_NONE)


def enter_trace(headers: Mapping[str, str]) -> None:
    """Take over the trace of a call for all that is done for it."""
    found = {name: headers[name] for name in _NAMES if name in headers}
    _current.set(found if sum(map(len, found.values())) <= _MOST_BYTES else _NONE)


def trace_headers() -> Mapping[str, str]:
    """Headers to send along with requests of one's own; also in the threads of synchronous functions."""
    return _current.get()
