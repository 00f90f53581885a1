"""Certificates of one test run: an authority of its own, the server's pair, and a pair for each user.

The API server takes the common name as the user's name and the organizations as its groups.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


class Authority:
    """Signs what the servers and users of one run show each other."""

    def __init__(self, called: str = "pannier-tests") -> None:
        """``called``: authorities in one bundle need names of their own, as they have no key identifiers."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name(called)
        ca = x509.BasicConstraints(ca=True, path_length=0)
        usage = _usage(signs_certificates=True)
        unsigned = _unsigned(name, name, self._key).add_extension(ca, critical=True)
        self._certificate = unsigned.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())

    @property
    def certificate(self) -> str:
        """Whom to trust, as PEM."""
        return _pem(self._certificate)

    def server(self, address: str, name: str = "localhost", *, also: Sequence[str] = ()) -> Pair:
        """Make the pair of a server at an IP address, and by a name; ``also`` are more of either kind."""
        names = [_general_name(one) for one in (address, name, *also)]
        return self._pair(_name("server"), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """Make the pair of a user."""
        return self._pair(_name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    def _pair(self, name: x509.Name, purpose: x509.ObjectIdentifier, names: list[x509.GeneralName]) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        unsigned = _unsigned(name, self._certificate.subject, key)
        unsigned = unsigned.add_extension(_usage(signs_certificates=False), critical=True)
        unsigned = unsigned.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if names:
            unsigned = unsigned.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Pair(_pem(unsigned.sign(self._key, hashes.SHA256())), key_pem(key))


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Write a key as PEM, in the form from which Kubernetes takes public keys, too."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _name(common: str, organizations: Sequence[str] = ()) -> x509.Name:
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
