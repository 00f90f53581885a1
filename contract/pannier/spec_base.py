"""What all models of the FeatureGroup share: strictness, names of fields, patterns of texts.

The models are the single source of the CRD (`pannier.crd`), of validation without a cluster
(`pannier.spec_parsing`) and of the reference page; docstrings of attributes become the descriptions that
``kubectl explain fg`` shows.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP: Final = "pannier.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "FeatureGroup"

MAX_FEATURES: Final = 128
YEAR_SECONDS: Final = 31_536_000


def camel(name: str) -> str:
    """Turn ``soft_ttl_seconds`` into ``softTTLSeconds``: camelCase with TTL as the one initialism."""
    return to_camel(name).replace("Ttl", "TTL")


class SpecModel(BaseModel):
    """A frozen object of the resource: unknown fields are refused, nothing is coerced."""

    model_config = ConfigDict(
        alias_generator=camel, extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


GROUP_NAME_PATTERN: Final = "^[A-Za-z][A-Za-z0-9_.-]*$"
FEATURE_NAME_PATTERN: Final = "^[A-Za-z][A-Za-z0-9_]*$"
ENTITY_PATTERN: Final = "^[a-z][a-zA-Z0-9_]*$"
DNS_LABEL_PATTERN: Final = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
TABLE_NAME_PATTERN: Final = "^[a-zA-Z0-9_.-]+$"
REGION_PATTERN: Final = "^[a-z]{2}(-[a-z]+)+-[0-9]$"
KMS_KEY_ARN_PATTERN: Final = "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$"
PATH_PATTERN: Final = "^/.*$"

PATTERN_MEANING: Final = {
    GROUP_NAME_PATTERN: "letters, digits, '_', '.' and '-', beginning with a letter"
    " ('#' separates it from the id)",
    FEATURE_NAME_PATTERN: "letters, digits and '_', beginning with a letter",
    ENTITY_PATTERN: "letters, digits and '_', beginning with a small letter",
    DNS_LABEL_PATTERN: "small letters, digits and '-', beginning and ending with a letter or digit",
    DNS_SUBDOMAIN_PATTERN: "small letters, digits, '-' and '.', beginning and ending with a letter or digit",
    TABLE_NAME_PATTERN: "letters, digits, '_', '.' and '-'",
    REGION_PATTERN: "an AWS region such as eu-central-1",
    KMS_KEY_ARN_PATTERN: "the ARN of a key (arn:aws:kms:...:key/...), not an alias",
    PATH_PATTERN: "an absolute path, beginning with '/'",
}
"""What each pattern asks for, in words: a regular expression is no advice."""

DnsLabel = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]
Ttl = Annotated[int, Field(ge=0, le=2_592_000)]
HardTtl = Annotated[int, Field(ge=1, le=2_592_000)]
