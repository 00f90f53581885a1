"""What is found to be the case, in the form of a condition: status, reason, a sentence.

`REASONS` is the list of all reasons with what to do about each; the reference page is made of it, and no
other reason can be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal, cast

Truth = Literal["True", "False", "Unknown"]

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # all is well
        "Ready": "Nothing to do.",
        "Accepted": "Nothing to do.",
        "Published": "Nothing to do.",
        "Enabled": "Nothing to do.",
        "Enabling": "Nothing to do: AWS has accepted the TTL; expired rows are hidden by readers already.",
        "AsDeclared": "Nothing to do.",
        "NothingStored": "Nothing to do: the group has no table (storage.mode None).",
        "ServerReady": "Nothing to do.",
        # under way
        "NotSeenYet": "Wait: the operator has not looked yet.",
        "Creating": "Wait: DynamoDB is making the table.",
        "Updating": "Wait: DynamoDB changes one setting at a time.",
        "Hardening": "Wait: deletion protection and backups are being set.",
        "TableDeleting": "Wait: a table of that name is being deleted; it is made anew afterwards.",
        "Disabling": "Wait: TTL can be switched on again when AWS is done, an hour after its last change.",
        "Applying": "Wait: differences are being put right, one at a time.",
        "Deleting": "Wait: the table is being deleted, as deletionPolicy Delete wants it.",
        "Waiting": "Wait for what the message names.",
        # until a date
        "RateLimitedUntil": "Wait until the date in the message: AWS limits how often this may change.",
        "Throttled": "Wait: AWS takes fewer calls at the moment; the operator tries again more slowly.",
        "AwsUnavailable": "Wait; if it lasts, see AWS's health page and the operator's network.",
        # somebody has to act
        "AccessDenied": "Give the operator's role the action that the message names (docs/iam.md).",
        "CredentialsInvalid": "Check the operator's service account, its role and its trust policy.",
        "RegionMissing": "Set AWS_REGION for the operator, or storage.region in the group.",
        "AwsRefused": "Read the message: AWS refuses the setting; change the spec.",
        "NoEffect": "AWS takes the change and reports the old value: does something change it back?",
        "TableExists": "Set storage.adoption to IfCompatible to take the table over, or name another table.",
        "TableOwnedByOther": "Name another table, or remove the other owner's pannier.dev/ tags first.",
        "KeySchemaMismatch": "Name another table: keys cannot be changed. Pannier needs pk (S) and sk (S).",
        "TtlAttributeMismatch": "Disable the table's TTL by hand an hour before adopting, or name another.",
        "TableLost": "Restore the table from a backup, or annotate the group to start empty (see runbook).",
        "TableInaccessible": "Restore access to the table's KMS key.",
        "SharedTableUnknown": "Ask the platform for the table, or name one it offers.",
        "SharedTableNotReady": "Wait, or ask the platform: the shared table is not usable yet.",
        "GroupNameTaken": "Choose another groupName, or have an administrator release it (see runbook).",
        "SchemaConflict": "Restore the features that rows are stored with and append new ones after them.",
        "KeyConflict": "Restore the sort key that rows are stored with, or choose another groupName.",
        "SpecInvalid": "Correct what the message names.",
        "PublishFailed": "See the message: remove another's ConfigMap of that name, name the namespace in"
        " --namespaces, or see why the API server refused.",
        "NamespaceMissing": "Create the consumer's namespace or remove it from spec.consumers.",
        "InputCycle": "Take one of the groups that the message names out of another's onDemand.inputs.",
        "InputsTooDeep": "Let fewer groups with inputs stand in a row.",
        "UnknownInputGroup": "Declare the group, grant it there (spec.consumers), or correct its name.",
        "UnknownInputFeature": "Correct the name of the feature, or take another: it may have been removed.",
        "InputLimit": "Lower the limit, or leave it out where the group is no timeline.",
        "InputNeedsContext": "Take its inputs themselves: inputs are read without a context.",
        "NotAccepted": "See condition SchemaAccepted: the last accepted version stays published.",
        "DeletionBlocked": "Set storage.dedicated.deletionProtection Disabled, or deletionPolicy Retain.",
        "Drifted": "Somebody changed the table; it is put back, or with policy Observe only told.",
        "Observed": "managementPolicy is Observe: nothing is changed.",
        "Paused": "Set managementPolicy to Full to go on.",
        "SidecarsNotObserved": "Nothing to do; with a catalog endpoint (--catalog-feed) sidecars would be"
        " heard of. Each has its revision in pannier_catalog_revision.",
        "Served": "Nothing to do.",
        "NoSidecars": "Nothing to do: the first one to come serves what is published.",
        "SidecarsBehind": "Wait a moment; if it lasts, see the logs of the sidecars that the message names.",
        "SidecarsReject": "Upgrade these sidecars (restart their pods): their release cannot use the group.",
        "SidecarsSilent": "See why the operator cannot be reached from there (network policy, operator URL):"
        " such a sidecar follows its mounted catalog, about a minute later.",
        "ServiceNotAllowed": "Use a Service of the group's namespace, or have the platform allow it"
        " (--on-demand-services).",
        "ServiceMissing": "Deploy the feature server, or correct spec.onDemand.service.",
        "ServiceExternal": "Name a Service that has pods: one of type ExternalName is not called.",
        "ServicePortMissing": "Correct spec.onDemand.service.port, or the Service.",
        "ServiceUnreadable": "Give the operator the right that the message names.",
        "NoEndpoints": "See why no pod of the feature server is ready.",
        "ServerUnreachable": "See its logs, and whether a network policy keeps the operator out.",
        "ServerUntrusted": "Give the server a certificate for NAME.NAMESPACE.svc of a trusted authority.",
        "ServerFailing": "See the feature server's logs: it answers that it cannot compute now.",
        "ServerRefuses": "See the message: another server, another path, or it does not compute the group.",
        "ServerGarbled": "Mend the feature server: its answer is none of the protocol.",
        "SchemaMismatch": "Deploy the feature server with the group's features, or wait for its rollout.",
        "Expiring": "Nothing to do: rows end by retention.",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: whether it holds, why in one word of `REASONS`, why in a sentence."""

    status: Truth
    reason: str
    message: str = ""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"{self.reason} is no documented reason")

    @property
    def holds(self) -> bool:
        """Whether it is known to hold."""
        return self.status == "True"


def found_before(condition: Mapping[str, str]) -> Finding:
    """Read a finding back from a condition; a reason of another release says nothing here."""
    status, reason = condition.get("status"), condition.get("reason", "")
    if status not in {"True", "False", "Unknown"} or reason not in REASONS:
        return Finding("Unknown", "NotSeenYet")
    return Finding(cast("Truth", status), reason, condition.get("message", ""))


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that is not as declared; ``field`` is where it is declared."""

    field: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.field} is {self.found}, declared {self.wanted}"


def moment(when: datetime) -> str:
    """Write a time as Kubernetes does: UTC, whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_moment(text: str | None) -> datetime | None:
    """Read a time of Kubernetes; None where there is none or it cannot be read."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def reference_table() -> str:
    """Make the table of docs/reference/operator.md."""
    lines = ["| reason | what to do |", "| --- | --- |"]
    lines += [f"| `{reason}` | {advice} |" for reason, advice in REASONS.items()]
    return "\n".join(lines) + "\n"
