"""The IAM policies allow what the code calls, and nothing more."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import botocore.session  # type: ignore[import-untyped]
import pytest
from botocore import xform_name

from pannier.keys import partition_key
from pannier_operator.aws.claim_items import CLAIM_PREFIX
from pannier_operator.planning.wanted import TAG_CLUSTER

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "iam"
FILES = sorted(FOLDER.glob("*.json"))
OPERATIONS = {
    xform_name(name): name
    for name in botocore.session.get_session().get_service_model("dynamodb").operation_names
}
"""boto's name of every operation of DynamoDB -> its name, which is that of the action as well."""
ONLY_WITH_CREATE_TABLES = {"CreateTable", "UpdateTimeToLive"}
"""What a sidecar calls with --create-tables, which is for emulators."""
WRITES = {"UpdateItem", "DeleteItem", "BatchWriteItem"}


def called_in(folder: str) -> set[str]:
    """Operations that the code below a folder names."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {OPERATIONS[word] for word in words & OPERATIONS.keys()}


def statements(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())["Statement"]
    return found


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowed(name: str) -> set[str]:
    """Actions of a policy, each of which it names once."""
    actions = [action for statement in statements(name) for action in as_list(statement["Action"])]
    assert len(set(actions)) == len(actions)
    assert all(statement["Effect"] == "Allow" for statement in statements(name))
    return {action.removeprefix("dynamodb:") for action in actions}


def test_the_operator_may_do_what_it_calls() -> None:
    """Each call has its action, each action its call."""
    assert allowed("operator") == called_in("operator/pannier_operator")


def test_sidecars_may_do_what_they_call() -> None:
    """Those that only read have no action that writes."""
    called = called_in("sidecar/pannier_sidecar") - ONLY_WITH_CREATE_TABLES
    assert allowed("sidecar-write") == called
    assert allowed("sidecar-read") == called - WRITES


def test_the_operator_sees_claims_and_no_row() -> None:
    """Its calls for items are bound to the keys of claims, which no row can have."""
    (items,) = [s for s in statements("operator") if "dynamodb:GetItem" in s["Action"]]
    (keys,) = items["Condition"].values()
    assert keys == {"dynamodb:LeadingKeys": partition_key(CLAIM_PREFIX, "*")}


def test_tables_are_made_and_deleted_as_the_clusters_own() -> None:
    """By the tag that CreateTable itself sets."""
    by_action = {s["Action"]: s for s in statements("operator") if isinstance(s["Action"], str)}
    made = by_action["dynamodb:CreateTable"]["Condition"]
    assert made == {"StringEquals": {f"aws:RequestTag/{TAG_CLUSTER}": "CLUSTER"}}
    deleted = by_action["dynamodb:DeleteTable"]["Condition"]
    assert deleted == {"StringEquals": {f"aws:ResourceTag/{TAG_CLUSTER}": "CLUSTER"}}


def test_sidecars_see_only_rows_of_their_groups() -> None:
    """By the first part of the key, also in a table that several groups share."""
    for name in ("sidecar-read", "sidecar-write"):
        rows, tables = statements(name)
        (keys,) = rows["Condition"].values()
        assert keys == {"dynamodb:LeadingKeys": [partition_key("GROUP", "*")]}
        assert tables["Action"] == "dynamodb:DescribeTable"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_page_shows_every_policy(file: Path) -> None:
    """Word for word: what people copy is what is tested."""
    page = (ROOT / "docs" / "iam.md").read_text(encoding="utf-8")
    assert f"```json\n{file.read_text(encoding='utf-8')}```" in page


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_policies_fit_and_name_no_wildcard_action(file: Path) -> None:
    """Inline policies of a role may have 10240 characters; no action is a pattern."""
    text = file.read_text(encoding="utf-8")
    assert len("".join(text.split())) < 10240
    for statement in json.loads(text)["Statement"]:
        assert not any("*" in action for action in as_list(statement["Action"]))
        assert statement["Resource"] != "*"
