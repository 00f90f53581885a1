"""AdmissionReview v1, in and out. Pure; what cannot be read is a `ReviewInvalid`."""

from __future__ import annotations

import base64
import http
from typing import Any, Final, Literal

import msgspec

from pannier.errors import PannierError
from pannier_operator.admission.verdict import Verdict

REVIEW_VERSION: Final = "admission.k8s.io/v1"


class ReviewInvalid(PannierError):
    """What came is no AdmissionReview v1 of an object."""


class Review(msgspec.Struct, frozen=True, rename="camel"):
    """One request of the API server, as far as it matters here."""

    uid: str
    operation: Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = None


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: Literal["AdmissionReview"]
    request: Review


def read_review(body: bytes) -> Review:
    """Read a request; raises `ReviewInvalid`."""
    try:
        envelope = msgspec.json.decode(body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReviewInvalid(f"no AdmissionReview: {error}") from error
    if envelope.api_version != REVIEW_VERSION:
        raise ReviewInvalid(f"{envelope.api_version} is not spoken here, only {REVIEW_VERSION}")
    review = envelope.request
    for document in (review.object, review.old_object):
        if document is not None and not isinstance(document.get("metadata"), dict):
            raise ReviewInvalid("the object has no metadata")
    return review


def answer(uid: str, verdict: Verdict) -> dict[str, Any]:
    """Write the answer: kubectl shows the reason and the sentence of a refusal, and every warning."""
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.refusal is None}
    if verdict.refusal is not None:
        reason, message = verdict.refusal.reason, verdict.refusal.message
        response["status"] = {
            "code": http.HTTPStatus.FORBIDDEN.value,
            "reason": reason,
            "message": f"{reason}: {message}",
        }
    if verdict.patch:
        patch = base64.b64encode(msgspec.json.encode(verdict.patch)).decode()
        response |= {"patchType": "JSONPatch", "patch": patch}
    if verdict.warnings:
        response["warnings"] = list(verdict.warnings)
    return {"apiVersion": REVIEW_VERSION, "kind": "AdmissionReview", "response": response}
