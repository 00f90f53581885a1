"""Write the generated parts of docs/reference anew: pages and tables that are made of code and schemas.

Tests compare them; `make reference` mends what differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from pannier.spec_reference import reference_page
from pannier_ondemand.openapi import reference_text
from pannier_operator.metrics import reference_table as metrics_table
from pannier_operator.planning.findings import reference_table as reasons_table
from pannier_sidecar.exposition import reference_table as sidecar_metrics_table

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = ROOT / "docs" / "reference"
CHART: Final = ROOT / "charts" / "pannier"
FEATURE_SERVER_CHART: Final = ROOT / "charts" / "feature-server"


def values_table(chart: Path = CHART) -> str:
    """Make the table of a chart's values, of its schema and its defaults."""
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    defaults = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    rows = [f"| {' | '.join(row)} |" for row in _rows(schema, defaults, "")]
    return "\n".join(["| value | default | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _rows(schema: Mapping[str, Any], defaults: Mapping[str, Any], path: str) -> Iterator[tuple[str, ...]]:
    for name, value in schema["properties"].items():
        if name not in defaults:  # Helm's own
            continue
        here, meaning = f"{path}{name}", value["description"].replace("|", "\\|")
        if "properties" in value:
            yield f"**`{here}`**", "", meaning
            yield from _rows(value, defaults[name], f"{here}.")
        else:
            choices = ", ".join(f"`{choice}`" for choice in value.get("enum", ()))
            shown = json.dumps(defaults[name])
            yield f"`{here}`", f"`{shown}`", f"{meaning} One of {choices}." if choices else meaning


def with_table(page: str, table: str) -> str:
    """Put a table in the place of the one with the same head; raises ValueError where there is none."""
    head = table.partition("\n")[0]
    before, found, after = page.partition(f"{head}\n")
    if not found:
        raise ValueError(f"the page has no table {head}")
    rest = after.partition("\n\n")[2]
    return f"{before}{table}\n{rest}" if rest else before + table


def main() -> None:
    """Write every page."""
    (REFERENCE / "featuregroup.md").write_text(reference_page(), encoding="utf-8")
    (REFERENCE / "on-demand-protocol.openapi.json").write_text(reference_text(), encoding="utf-8")
    tables = {
        REFERENCE / "operator.md": [reasons_table(), metrics_table()],
        REFERENCE / "metrics.md": [sidecar_metrics_table()],
        REFERENCE / "chart.md": [values_table()],
        REFERENCE / "feature-server-chart.md": [values_table(FEATURE_SERVER_CHART)],
    }
    for path, parts in tables.items():
        page = path.read_text(encoding="utf-8")
        for table in parts:
            page = with_table(page, table)
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
