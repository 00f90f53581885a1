"""Certificates and their keys as PEM, made and read: the only module that knows how they are made."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_EARLIER: Final = dt.timedelta(minutes=5)
"""Valid from a little before now: clocks of API servers differ."""


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


class Facts(NamedTuple):
    """What a certificate says."""

    made_at: dt.datetime
    ends_at: dt.datetime
    names: tuple[str, ...]


def make_authority(now: dt.datetime, life: dt.timedelta) -> Pair:
    """Make an authority that may sign servers and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Pannier webhooks, {now:%Y-%m-%dT%H:%M:%SZ}")])
    unsigned = _unsigned(name, name, key.public_key(), now, life)
    unsigned = unsigned.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    unsigned = unsigned.add_extension(_usage(signs=True), critical=True)
    return _pair(unsigned.sign(key, hashes.SHA256()), key)


def make_server(authority: Pair, names: Sequence[str], now: dt.datetime, life: dt.timedelta) -> Pair:
    """Make the certificate of servers with these DNS names, signed by the authority."""
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is of another kind than those made here")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pannier")])
    unsigned = _unsigned(subject, issuer.subject, key.public_key(), now, life)
    unsigned = unsigned.add_extension(_usage(signs=False), critical=True)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    unsigned = unsigned.add_extension(purpose, critical=False).add_extension(alternatives, critical=False)
    return _pair(unsigned.sign(signer, hashes.SHA256()), key)


def facts_of(certificate: str) -> Facts | None:
    """What a PEM says; None where it is no certificate."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError:
        return None
    try:
        found = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(found.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    return Facts(read.not_valid_before_utc + _EARLIER, read.not_valid_after_utc, names)


def is_signed_by(certificate: str, authority: str) -> bool:
    """Whether one vouches for the other."""
    try:
        issuer = x509.load_pem_x509_certificate(authority.encode())
        x509.load_pem_x509_certificate(certificate.encode()).verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _unsigned(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    life: dt.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + life)
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    text = key.private_bytes(encoding, form, serialization.NoEncryption())
    return Pair(certificate.public_bytes(encoding).decode(), text.decode())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
