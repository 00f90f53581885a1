"""Reads all there is to know of a table: one look is five calls, fewer while it is not usable."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from pannier_operator.aws.call_budget import Urgency
from pannier_operator.aws.claim_items import read_claim
from pannier_operator.aws.dynamodb_client import DynamoDB
from pannier_operator.errors import AwsFault
from pannier_operator.planning.observed import (
    KEYS,
    USABLE,
    Billing,
    KeyColumn,
    Observation,
    ObservedTable,
    ObservedTtl,
    OnDemandLimits,
    Part,
    Recovery,
    TableClass,
    Throughput,
)

CALLS_OF_A_LOOK: Final = 4
"""Control-plane calls of one look at a usable table."""
_BILLING: Final[Mapping[str, Billing]] = {"PAY_PER_REQUEST": "PayPerRequest", "PROVISIONED": "Provisioned"}
_CLASSES: Final[Mapping[str, TableClass]] = {
    "STANDARD": "Standard",
    "STANDARD_INFREQUENT_ACCESS": "InfrequentAccess",
}
_NEVER: Final = datetime(1970, 1, 2, tzinfo=UTC)
"""Emulators report the epoch for what never happened."""


class Observer:
    """Looks at tables of one region with one urgency."""

    def __init__(self, dynamodb: DynamoDB, region: str | None, urgency: Urgency) -> None:
        self._dynamodb = dynamodb
        self._region = region
        self._urgency: Urgency = urgency

    async def look(self, table: str, group_name: str | None) -> Observation:
        """See a table whole; with the claim on a groupName, if one is in question. Raises `AwsFault`."""
        description = await self._describe(table)
        if description is None:
            return Observation(table=None)
        found = observed_table(description)
        if found.status not in USABLE:
            return Observation(table=found)
        tags, recovery = await self._tags(found.arn), await self._recovery(table)
        unsupported: set[Part] = set()
        if tags is None:
            unsupported.add("tags")
        if recovery is None:
            unsupported.add("recovery")
        return Observation(
            table=found,
            ttl=await self._ttl(table),
            recovery=recovery,
            tags=tags,
            claim=await self.claim(table, group_name) if group_name and found.keys == KEYS else None,
            unsupported=frozenset(unsupported),
        )

    async def claim(self, table: str, group_name: str) -> Any:
        """Read one claim; None = nobody's."""
        return await read_claim(self._dynamodb, self._region, table, group_name)

    async def _call(self, operation: str, **arguments: Any) -> Mapping[str, Any]:
        return await self._dynamodb.call(operation, region=self._region, urgency=self._urgency, **arguments)

    async def _describe(self, table: str) -> Mapping[str, Any] | None:
        try:
            return cast("Mapping[str, Any]", (await self._call("describe_table", TableName=table))["Table"])
        except AwsFault as fault:
            if fault.kind == "NotFound":
                return None
            raise

    async def _tags(self, arn: str) -> dict[str, str] | None:
        tags: dict[str, str] = {}
        page: dict[str, str] = {}
        while True:
            try:
                answer = await self._call("list_tags_of_resource", ResourceArn=arn, **page)
            except AwsFault as fault:
                if fault.kind == "Unsupported":
                    return None
                raise
            tags |= {tag["Key"]: tag["Value"] for tag in answer.get("Tags", ())}
            if "NextToken" not in answer:
                return tags
            page = {"NextToken": answer["NextToken"]}

    async def _recovery(self, table: str) -> Recovery | None:
        try:
            answer = await self._call("describe_continuous_backups", TableName=table)
        except AwsFault as fault:
            if fault.kind == "Unsupported":
                return None
            raise
        state = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        return Recovery(
            state.get("PointInTimeRecoveryStatus") == "ENABLED", state.get("RecoveryPeriodInDays")
        )

    async def _ttl(self, table: str) -> ObservedTtl:
        answer = await self._call("describe_time_to_live", TableName=table)
        state = answer["TimeToLiveDescription"]
        return ObservedTtl(state["TimeToLiveStatus"], state.get("AttributeName"))

    def __repr__(self) -> str:
        return f"<Observer of {self._region or 'the default region'}, {self._urgency}>"


def observed_table(said: Mapping[str, Any]) -> ObservedTable:
    """Read a TableDescription; what AWS leaves out is its default, what we do not know is ignored."""
    billing = said.get("BillingModeSummary", {})
    provisioned = said.get("ProvisionedThroughput", {})
    ceilings = said.get("OnDemandThroughput", {})
    types = {column["AttributeName"]: column["AttributeType"] for column in said["AttributeDefinitions"]}
    return ObservedTable(
        name=said["TableName"],
        arn=said["TableArn"],
        status=said["TableStatus"],
        id=said.get("TableId"),
        keys=tuple(
            KeyColumn(key["AttributeName"], key["KeyType"], types.get(key["AttributeName"], "?"))
            for key in said["KeySchema"]
        ),
        billing=_BILLING.get(billing.get("BillingMode", "PROVISIONED"), "Provisioned"),
        throughput=Throughput(
            provisioned.get("ReadCapacityUnits", 0), provisioned.get("WriteCapacityUnits", 0)
        ),
        decreases_today=provisioned.get("NumberOfDecreasesToday", 0),
        last_decrease=_time(provisioned.get("LastDecreaseDateTime")),
        on_demand=OnDemandLimits(
            _ceiling(ceilings.get("MaxReadRequestUnits")), _ceiling(ceilings.get("MaxWriteRequestUnits"))
        ),
        last_on_demand_switch=_time(billing.get("LastUpdateToPayPerRequestDateTime")),
        table_class=_CLASSES.get(said.get("TableClassSummary", {}).get("TableClass", "STANDARD"), "Standard"),
        deletion_protected=said.get("DeletionProtectionEnabled", False),
        kms_key_arn=said.get("SSEDescription", {}).get("KMSMasterKeyArn"),
    )


def _ceiling(units: int | None) -> int | None:
    """AWS says -1 for none."""
    return units if units is not None and units > 0 else None


def _time(when: datetime | None) -> datetime | None:
    return when if when is not None and when > _NEVER else None
