"""Run by the Python that has Feast: applies a feature repository and writes rows to its Redis, once.

Reads one JSON document from standard input: ``directory``, ``redis`` (host:port) and ``groups``, each with
``name``, ``features`` (name -> type) and ``rows`` (id -> features). It stands alone: Pannier is not there.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# (Feast lives in an environment of its own)

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import Bool, Float64, Int64, PrimitiveFeastType, String

TYPES: dict[str, PrimitiveFeastType] = {"Bool": Bool, "Float64": Float64, "Int64": Int64, "String": String}
CONFIGURATION = """\
project: bench
provider: local
registry: registry.db
online_store:
  type: redis
  connection_string: "{redis}"
entity_key_serialization_version: 3
"""


def main() -> None:
    """Write the configuration, register the views, write the rows."""
    asked = json.load(sys.stdin)
    directory = Path(asked["directory"])
    (directory / "feature_store.yaml").write_text(CONFIGURATION.format(redis=asked["redis"]))
    store = FeatureStore(repo_path=str(directory))
    user = Entity(name="user", join_keys=["user_id"])
    store.apply([user, *(_view(group, user, directory) for group in asked["groups"])])
    for group in asked["groups"]:
        store.write_to_online_store(group["name"], df=_frame(group["rows"]))


def _view(group: dict[str, Any], user: Entity, directory: Path) -> FeatureView:
    # the source is asked for by the constructor and never read: rows go to the online store directly
    source = FileSource(path=str(directory / f"{group['name']}.parquet"), timestamp_field="event_timestamp")
    _frame(group["rows"]).to_parquet(directory / f"{group['name']}.parquet")
    schema = [Field(name=name, dtype=TYPES[kind]) for name, kind in group["features"].items()]
    return FeatureView(
        name=group["name"], entities=[user], schema=schema, source=source, ttl=timedelta(days=3650)
    )


def _frame(rows: dict[str, dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame([{"user_id": row_id, **features} for row_id, features in rows.items()])
    frame["event_timestamp"] = frame["created"] = datetime.now(UTC)
    return frame


if __name__ == "__main__":
    main()
