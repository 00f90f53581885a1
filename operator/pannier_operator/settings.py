"""Flags and environment of ``pannier operator`` -> one frozen `Settings`, or one message with every fault.

`OPTIONS` is the list: the command line makes its flags of it, `load` reads the environment twins
(`pannier.options`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pannier import option_values as values
from pannier.errors import Problem
from pannier.option_values import Address
from pannier.options import LOGGING, LogFormat, Option, SettingsInvalid, parse_options
from pannier.spec_base import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN
from pannier_operator.https_options import HTTPS_OPTIONS, https_rules
from pannier_operator.on_demand.options import ON_DEMAND, Permission
from pannier_operator.setting_values import Hook, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything ``pannier operator`` can be told, checked."""

    kubeconfig: str | None
    namespaces: tuple[str, ...]
    """Empty = all."""
    admin: Address
    admission: Address | None
    """None = no webhook."""
    catalog_feed: Address | None
    """None = sidecars have only their mounted catalog, and nobody hears what they serve."""
    catalog_authority: str | None
    count_injected_pods: bool
    admission_certificate: str | None
    admission_key: str | None
    certificate_secret: str | None
    """None = somebody else makes the webhooks' certificate."""
    certificate_names: tuple[str, ...]
    certificate_hooks: tuple[Hook, ...]
    sidecar_template: str | None
    """None = nobody looks for pods that the injector missed."""
    injector_service: str | None
    evict_missed_pods: bool
    table_prefix: str
    cluster_id: str | None
    """None = the uid of namespace kube-system."""
    shared_tables: str | None
    dynamodb_endpoint_url: str | None
    aws_calls_per_second: int
    resync_seconds: int
    workers: int
    catalog_delay_ms: int
    on_demand_services: frozenset[Permission]
    on_demand_ca: str | None
    """None = the system's authorities vouch for feature servers."""
    on_demand_at: Mapping[str, Address]
    lease_namespace: str | None
    """None = the namespace the operator runs in."""
    lease_name: str
    identity: str | None
    """None = host name and a random part."""
    lease_seconds: int
    lease_renew_seconds: int
    lease_retry_seconds: int
    log_format: LogFormat
    log_level: str


_NAMESPACE: Final[Callable[[str], str]] = values.matching(DNS_LABEL_PATTERN, "pannier-system")

OPTIONS: Final = (
    Option(
        "kubeconfig",
        "FILE",
        values.path_text,
        None,
        "How to reach the API server. Absent: the pod's service account.",
    ),
    Option(
        "namespaces", "A,B", names, None, "Reconcile and publish in these namespaces only. Absent: in all."
    ),
    Option("admin", "HOST:PORT", values.address, "0.0.0.0:8472", "Where health and metrics are served."),
    *HTTPS_OPTIONS,
    Option(
        "table_prefix",
        "PREFIX",
        values.matching(r"[A-Za-z0-9_-]{1,64}", "pannier"),
        "pannier",
        "First part of default table names: <prefix>.<namespace>.<groupName>. Must differ between clusters of"
        " one account.",
    ),
    Option(
        "cluster_id",
        "NAME",
        values.matching(r"[A-Za-z0-9][A-Za-z0-9_.:/=+@-]{0,127}", "prod-eu"),
        None,
        "What this cluster calls itself in the tags and claims of its tables. Absent: the uid of namespace"
        " kube-system.",
    ),
    Option(
        "shared_tables",
        "FILE",
        values.path_text,
        None,
        "YAML list of the tables that groups with storage.mode Shared may use, with their settings.",
    ),
    Option(
        "dynamodb_endpoint_url",
        "URL",
        values.http_url,
        None,
        "A DynamoDB other than AWS's (an emulator, a VPC endpoint).",
    ),
    Option(
        "aws_calls_per_second",
        "N",
        values.whole_number(1, 1000),
        "5",
        "Control-plane calls a second to one account; the resync slows down to fit.",
    ),
    Option(
        "resync_seconds",
        "S",
        values.whole_number(5, 86_400),
        "300",
        "How often each group is checked for drift, at best.",
    ),
    Option("workers", "N", values.whole_number(1, 1000), "20", "How many groups are reconciled at once."),
    Option(
        "catalog_delay_ms",
        "MS",
        values.whole_number(0, 60_000),
        "200",
        "How long edits of one namespace are gathered before its catalog is published.",
    ),
    Option(
        "lease_namespace",
        "NAME",
        _NAMESPACE,
        None,
        "Where the leader's Lease lies. Absent: the namespace of the operator's pod.",
    ),
    Option(
        "lease_name",
        "NAME",
        values.matching(DNS_SUBDOMAIN_PATTERN, "pannier-operator"),
        "pannier-operator",
        "Name of the Lease; replicas with the same one elect a leader.",
    ),
    Option(
        "identity",
        "NAME",
        values.matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", "operator-0"),
        None,
        "What this replica calls itself in the Lease. Absent: host name and a random part.",
    ),
    Option(
        "lease_seconds",
        "S",
        values.whole_number(2, 3600),
        "15",
        "How long a leader that does not renew is waited for.",
    ),
    Option(
        "lease_renew_seconds",
        "S",
        values.whole_number(1, 3600),
        "10",
        "How long after its last renewal a leader still writes; less than --lease-seconds.",
    ),
    Option(
        "lease_retry_seconds",
        "S",
        values.whole_number(1, 3600),
        "2",
        "How often the Lease is renewed, or tried; less than --lease-renew-seconds.",
    ),
    *ON_DEMAND,
    *LOGGING,
)


def load(flags: Mapping[str, str | bool | None], env: Mapping[str, str]) -> Settings:
    """Check everything at once; raises `SettingsInvalid` naming every bad setting."""
    parsed, problems = parse_options(OPTIONS, flags, env)
    problems += _across(parsed)
    if problems:
        raise SettingsInvalid(problems)
    for several in ("namespaces", "certificate_names", "certificate_hooks"):
        parsed[several] = parsed[several] or ()
    return Settings(**parsed)


def _across(parsed: Mapping[str, Any]) -> list[Problem]:
    return [
        *_lease_order(parsed),
        *https_rules(parsed),
    ]


def _lease_order(parsed: Mapping[str, Any]) -> list[Problem]:
    """An old leader has stopped writing before a new one may begin."""
    order = ("lease_retry_seconds", "lease_renew_seconds", "lease_seconds")
    retry, renew, lease = (parsed[name] for name in order)
    if None in {retry, renew, lease} or retry < renew < lease:
        return []
    message = (
        f"--lease-retry-seconds ({retry}) must be less than --lease-renew-seconds ({renew}),"
        f" and that less than --lease-seconds ({lease})"
    )
    return [Problem("--lease-renew-seconds", "InvalidSetting", message)]
