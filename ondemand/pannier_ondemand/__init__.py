"""The server kit: a typed Python function, decorated, becomes a feature server that sidecars call.

An author needs `FeatureServer`, `Unknown` and `trace_headers`; `Record`, if an input is a timeline.
``python -m pannier_ondemand`` serves, and `pannier_ondemand.testing` calls without sockets. What is said
between sidecar and server is docs/reference/on-demand-protocol.md. The kit may import the contract and
nothing else of Pannier.

Flow: `http_port` -> `exchange` (one call) -> `computing` (one read; `input_rows` makes its arguments) -> the
function -> `row_values`.
"""

from __future__ import annotations

from pannier.trace_context import trace_headers
from pannier_ondemand.declaring import FeatureServer
from pannier_ondemand.input_types import Record
from pannier_ondemand.messages import Unknown

__all__ = ["FeatureServer", "Record", "Unknown", "trace_headers"]
