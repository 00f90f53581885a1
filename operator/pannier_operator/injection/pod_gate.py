"""One pod through the webhook: the review in, the verdict out, counted and logged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from pannier_operator.admission.review import Review
from pannier_operator.admission.verdict import ALLOWED, Verdict
from pannier_operator.authorities import Authority
from pannier_operator.injection.mutation import mutate, patch_of
from pannier_operator.injection.template import Template, vouching

_log: Final = structlog.stdlib.get_logger(__name__)
Counted = Callable[[str, str], None]
"""Told of each pod: injected, skipped, refused or unchanged; and the reason of a refusal."""


class PodGate:
    """Judges pods that a label sends here, their own or their namespace's: whoever comes wants a sidecar."""

    def __init__(
        self,
        template: Template,
        count: Counted = lambda _result, _reason: None,
        authority: Authority = lambda: "",
    ) -> None:
        """``authority``: who vouches for the operator's catalog endpoint."""
        self._template = template
        self._count = count
        self._authority = authority

    async def judge(self, review: Review) -> Verdict:
        """Judge one request; anything but the creation of a pod passes as it is."""
        pod = review.object
        if review.operation != "CREATE" or pod is None or pod.get("kind") != "Pod":
            self._count("unchanged", "")
            return ALLOWED
        mutation = mutate(pod, vouching(self._template, self._authority() or ""))
        name = pod["metadata"].get("name") or pod["metadata"].get("generateName", "")
        if mutation.refusal is not None:
            self._count("refused", mutation.refusal.reason)
            _log.info("pod_refused", pod=name, message=mutation.refusal.message)
            return Verdict(refusal=mutation.refusal)
        if mutation.pod is None:
            self._count("skipped", "")
            _log.info("pod_skipped", pod=name, message=mutation.warnings[0])
            return Verdict(warnings=mutation.warnings)
        patch = tuple(patch_of(pod, mutation.pod))
        self._count("injected" if patch else "unchanged", "")
        return Verdict(patch=patch)

    def __repr__(self) -> str:
        return f"<PodGate adding {self._template.container.get('image')}>"
