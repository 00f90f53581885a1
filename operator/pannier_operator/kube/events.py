"""Posts Events about FeatureGroups and pods: best effort, since conditions and metrics say the same."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Final

import structlog

from pannier.spec_base import API_VERSION, KIND
from pannier_operator.clock import Clock
from pannier_operator.errors import KubeFault
from pannier_operator.kube.api_client import FIELD_MANAGER, KubeApi
from pannier_operator.planning.findings import moment
from pannier_operator.reporting.transitions import Note

_log: Final = structlog.stdlib.get_logger(__name__)
_NOTE_BYTES: Final = 1024


def _rising(instant: datetime) -> str:
    """Microseconds since 1970 in hexadecimal, and dice for whoever posts in the same one."""
    return f"{round(instant.timestamp() * 1_000_000):014x}{secrets.token_hex(2)}"


class Events:
    """Posts what happened to a group, or to objects of another kind."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        instance: str,
        *,
        api_version: str = API_VERSION,
        kind: str = KIND,
    ) -> None:
        self._about = {"apiVersion": api_version, "kind": kind}
        self._api = api
        self._clock = clock
        self._instance = instance

    async def post(self, namespace: str, name: str, uid: str, note: Note) -> None:
        """Post one Event; that it cannot be posted is logged and nothing else.

        The name rises with time: kubectl shows Events of one second in the order of their names.
        """
        instant = self._clock.now()
        now = moment(instant)
        body = {
            "metadata": {"name": f"{name}.{_rising(instant)}", "namespace": namespace},
            "involvedObject": {
                **self._about,
                "namespace": namespace,
                "name": name,
                "uid": uid,
            },
            "type": note.type,
            "reason": note.reason,
            "message": note.message[:_NOTE_BYTES],
            "source": {"component": FIELD_MANAGER},
            "reportingComponent": FIELD_MANAGER,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._api.create(f"/api/v1/namespaces/{namespace}/events", body)
        except KubeFault as fault:
            _log.warning(
                "event_not_posted", about=f"{namespace}/{name}", reason=note.reason, fault=str(fault)
            )

    def __repr__(self) -> str:
        return f"<Events as {self._instance}>"
