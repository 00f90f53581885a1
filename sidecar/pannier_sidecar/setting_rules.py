"""What must hold between settings, and what follows from their absence; each by itself is checked before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

from pannier.errors import Problem
from pannier.option_values import Address

AWS_SIGNS: Final = (
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_DYNAMODB",
)
"""Any of these in the environment means that DynamoDB is meant."""

StoreKind = Literal["dynamodb", "embedded"]


def across(parsed: Mapping[str, Any], failed: set[str]) -> list[Problem]:
    """What must hold between settings and cannot be said of one alone."""
    problems = []
    sources = [parsed["specs"], parsed["catalog"]]
    source_failed = failed & {"--specs", "--catalog", "PANNIER_SPECS", "PANNIER_CATALOG"}
    if all(sources) or (not any(sources) and not source_failed):
        problems.append(
            Problem("--specs", "InvalidSetting", "give exactly one of --specs DIR and --catalog DIR")
        )
    if parsed["operator_url"] is not None and parsed["specs"] is not None:
        problems.append(
            Problem("--operator-url", "InvalidSetting", "goes with --catalog: --specs are served as they are")
        )
    http = cast("Address | None", parsed["http"])
    if http is not None and not http.is_loopback:
        problems.append(
            Problem(
                "--http",
                "NotLoopback",
                f"{http} can be reached from other machines; the data API has no access control and is for"
                " the pod's own containers: use 127.0.0.1 or ::1, or a Unix socket (--uds)",
            )
        )
    if parsed["store"] == "embedded" and parsed["dynamodb_endpoint_url"] is not None:
        problems.append(
            Problem("--dynamodb-endpoint-url", "InvalidSetting", "has no meaning with --store embedded")
        )
    return problems


def default_store(parsed: Mapping[str, Any], env: Mapping[str, str]) -> StoreKind:
    """Which store is meant where none was named."""
    if parsed["dynamodb_endpoint_url"] is not None or any(env.get(sign) for sign in AWS_SIGNS):
        return "dynamodb"
    return "embedded"
