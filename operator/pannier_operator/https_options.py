"""Settings of what the operator serves over HTTPS: webhook and catalog endpoint, and their certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pannier import option_values as values
from pannier.errors import Problem
from pannier.options import Option
from pannier.spec_base import DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN
from pannier_operator.setting_values import dns_names, hooks

HTTPS_OPTIONS: Final = (
    Option(
        "admission",
        "HOST:PORT",
        values.address,
        None,
        "Where the validating webhook is served over HTTPS, at /validate. Absent: not at all.",
    ),
    Option(
        "catalog_feed",
        "HOST:PORT",
        values.address,
        None,
        "Where sidecars hear of their catalog over HTTPS, at /v1/catalog, and say what they serve. Absent:"
        " they have their mounted catalog, and condition Served stays unknown.",
    ),
    Option(
        "catalog_authority",
        "FILE",
        values.path_text,
        None,
        "PEM of the authority that vouches for --catalog-feed; published in catalogs as operator-ca.crt.",
    ),
    Option(
        "count_injected_pods",
        "",
        values.switch,
        "false",
        "Take a group for served only if every running pod that was given a sidecar is heard of.",
        is_switch=True,
    ),
    Option(
        "admission_certificate",
        "FILE",
        values.path_text,
        None,
        "PEM of the certificate chain of --admission and --catalog-feed; loaded anew when it changes. May"
        " come later than the operator.",
    ),
    Option("admission_key", "FILE", values.path_text, None, "PEM of the key of --admission-certificate."),
    Option(
        "certificate_secret",
        "NAME",
        values.matching(DNS_SUBDOMAIN_PATTERN, "pannier-tls"),
        None,
        "Make and renew the webhooks' certificate, in this Secret of the Lease's namespace, and its authority"
        " in NAME-authority. Both have to be there. Absent: somebody else does.",
    ),
    Option(
        "certificate_names",
        "A,B",
        dns_names,
        None,
        "DNS names of the certificate of --certificate-secret.",
    ),
    Option(
        "certificate_hooks",
        "KIND/NAME,...",
        hooks,
        None,
        "Webhook configurations that are to trust it: mutating/NAME or validating/NAME.",
    ),
    Option(
        "sidecar_template",
        "FILE",
        values.path_text,
        None,
        "The injector's template: pods that asked for a sidecar and should have got one are told of by an"
        " Event. Absent: nobody looks for them.",
    ),
    Option(
        "injector_service",
        "NAME",
        values.matching(DNS_LABEL_PATTERN, "pannier-injector"),
        None,
        "The injector's Service, in the Lease's namespace; needed by --evict-missed-pods.",
    ),
    Option(
        "evict_missed_pods",
        "",
        values.switch,
        "false",
        "Evict such pods, at most ten a minute, while the injector is ready: their successors get a sidecar.",
        is_switch=True,
    ),
)


def https_rules(parsed: Mapping[str, Any]) -> list[Problem]:
    """What must hold between them."""
    return [*_served_whole(parsed), *_certificate_whole(parsed), *_watchdog_whole(parsed)]


def _served_whole(parsed: Mapping[str, Any]) -> list[Problem]:
    """Whoever listens for the API server or for sidecars needs a certificate: they speak only TLS."""
    listening = ["--" + _dashed(name) for name in ("admission", "catalog_feed") if parsed[name] is not None]
    absent = ["--" + _dashed(name) for name in _PAIR if parsed[name] is None]
    if listening and absent:
        message = f"goes with {' and '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} absent"
        return [Problem(listening[0], "InvalidSetting", message)]
    if not listening and len(absent) < len(_PAIR):
        return [Problem(_given(parsed), "InvalidSetting", "goes with --admission or --catalog-feed")]
    return _feed_whole(parsed)


_PAIR: Final = ("admission_certificate", "admission_key")


def _given(parsed: Mapping[str, Any]) -> str:
    return "--admission-certificate" if parsed["admission_certificate"] is not None else "--admission-key"


def _feed_whole(parsed: Mapping[str, Any]) -> list[Problem]:
    """What is about sidecars that are heard of has no meaning where none is."""
    needless = [name for name in ("catalog_authority", "count_injected_pods") if parsed[name]]
    if parsed["catalog_feed"] is not None or not needless:
        return []
    return [Problem("--" + _dashed(needless[0]), "InvalidSetting", "goes with --catalog-feed")]


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _certificate_whole(parsed: Mapping[str, Any]) -> list[Problem]:
    """A certificate without names serves nobody."""
    needed = ("certificate_secret", "certificate_names")
    absent = ["--" + _dashed(name) for name in needed if not parsed[name]]
    given = ["--" + _dashed(name) for name in (*needed, "certificate_hooks") if parsed[name]]
    if not absent or not given:
        return []
    return [Problem(given[0], "InvalidSetting", f"goes with {' and '.join(absent)}")]


def _watchdog_whole(parsed: Mapping[str, Any]) -> list[Problem]:
    """Who evicts has to know what should have been, and whether it would be now."""
    needed = ("sidecar_template", "injector_service")
    absent = ["--" + name.replace("_", "-") for name in needed if not parsed[name]]
    if not parsed["evict_missed_pods"] or not absent:
        return []
    return [Problem("--evict-missed-pods", "InvalidSetting", f"goes with {' and '.join(absent)}")]
