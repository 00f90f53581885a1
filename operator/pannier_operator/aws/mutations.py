"""Carries out one action of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from pannier_operator.aws.claim_items import put_claim
from pannier_operator.aws.dynamodb_client import DynamoDB
from pannier_operator.planning import actions as act
from pannier_operator.planning.observed import KEYS, TTL_ATTRIBUTE, OnDemandLimits, Recovery
from pannier_operator.planning.wanted import WantedTable

_BILLING: Final = {"PayPerRequest": "PAY_PER_REQUEST", "Provisioned": "PROVISIONED"}
_CLASSES: Final = {"Standard": "STANDARD", "InfrequentAccess": "STANDARD_INFREQUENT_ACCESS"}


async def carry_out(
    dynamodb: DynamoDB, action: act.Action, table: str, *, region: str | None, arn: str | None
) -> None:
    """Make the one call that the action is. Raises `AwsFault` and `LeadershipLost`."""
    if isinstance(action, act.PutClaim):
        await put_claim(dynamodb, region, table, action.claim, seen=action.seen)
        return
    operation, arguments = _call_of(action, table, arn)
    await dynamodb.call(operation, region=region, **arguments)


def _call_of(action: act.Action, table: str, arn: str | None) -> tuple[str, dict[str, Any]]:  # noqa: PLR0911
    """Say the action in the words of the API; one case each."""
    match action:
        case act.CreateTable(wanted):
            return "create_table", create_arguments(wanted)
        case act.DeleteTable():
            return "delete_table", {"TableName": table}
        case act.TagTable(tags):
            return "tag_resource", {"ResourceArn": arn, "Tags": _tags(tags)}
        case act.UntagTable(keys):
            return "untag_resource", {"ResourceArn": arn, "TagKeys": list(keys)}
        case act.EnableTtl():
            return "update_time_to_live", _ttl(table, TTL_ATTRIBUTE, enabled=True)
        case act.DisableTtl(attribute):
            return "update_time_to_live", _ttl(table, attribute, enabled=False)
        case act.SetRecovery(recovery):
            return "update_continuous_backups", {
                "TableName": table,
                "PointInTimeRecoverySpecification": _recovery(recovery),
            }
        case act.PutClaim():
            raise ValueError("a claim is no call of the control plane")
        case _:
            return "update_table", {"TableName": table, **_update(action)}


def _update(action: act.UpdateTable) -> dict[str, Any]:
    match action:
        case act.SetDeletionProtection(enabled):
            return {"DeletionProtectionEnabled": enabled}
        case act.ChangeBilling(billing, throughput):
            provisioned = {"ProvisionedThroughput": _units(*throughput)} if throughput else {}
            return {"BillingMode": _BILLING[billing], **provisioned}
        case act.ChangeThroughput(throughput):
            return {"ProvisionedThroughput": _units(*throughput)}
        case act.ChangeOnDemandLimits(limits):
            return {"OnDemandThroughput": _ceilings(limits)}
        case act.ChangeTableClass(table_class):
            return {"TableClass": _CLASSES[table_class]}
        case act.ChangeEncryption(kms_key_arn):
            return {"SSESpecification": _encryption(kms_key_arn)}
        case _:
            assert_never(action)


def create_arguments(wanted: WantedTable) -> dict[str, Any]:
    """Everything that CreateTable can set itself, so that there is no moment without it."""
    billing = wanted.billing or "PayPerRequest"
    arguments: dict[str, Any] = {
        "TableName": wanted.name,
        "KeySchema": [{"AttributeName": key.name, "KeyType": key.role} for key in KEYS],
        "AttributeDefinitions": [{"AttributeName": key.name, "AttributeType": key.type} for key in KEYS],
        "BillingMode": _BILLING[billing],
        "TableClass": _CLASSES[wanted.table_class or "Standard"],
        "DeletionProtectionEnabled": wanted.deletion_protected,
        "Tags": _tags({**wanted.tags, **wanted.ownership_tags("Created")}),
    }
    if billing == "Provisioned" and wanted.throughput is not None:
        arguments["ProvisionedThroughput"] = _units(*wanted.throughput)
    if billing == "PayPerRequest" and any(wanted.on_demand):
        arguments["OnDemandThroughput"] = _ceilings(wanted.on_demand)
    if wanted.kms_key_arn is not None:
        arguments["SSESpecification"] = _encryption(wanted.kms_key_arn)
    return arguments


def _units(read: int, write: int) -> dict[str, int]:
    return {"ReadCapacityUnits": read, "WriteCapacityUnits": write}


def _ceilings(limits: OnDemandLimits) -> dict[str, int]:
    named = {"MaxReadRequestUnits": limits.read, "MaxWriteRequestUnits": limits.write}
    return {name: units for name, units in named.items() if units is not None}


def _encryption(kms_key_arn: str) -> dict[str, Any]:
    return {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": kms_key_arn}


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def _ttl(table: str, attribute: str, *, enabled: bool) -> dict[str, Any]:
    specification = {"Enabled": enabled, "AttributeName": attribute}
    return {"TableName": table, "TimeToLiveSpecification": specification}


def _recovery(recovery: Recovery) -> dict[str, Any]:
    days = {"RecoveryPeriodInDays": recovery.days} if recovery.enabled and recovery.days else {}
    return {"PointInTimeRecoveryEnabled": recovery.enabled, **days}
