"""A certificate for signing pictures, with an authority of its own: for measurements and tests, trusted by nobody."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY = "A test's authority"
_UNUSED = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Certificates:
    """PEM: the signer's certificate and its issuer's; the signer's key; the issuer's certificate alone."""

    chain: bytes
    key: bytes
    authority: bytes


def make_certificates(days: float = 10, private: Any = None) -> Certificates:
    """Make a certificate as C2PA asks for it, valid for ``days`` from now; ``private``: its key (P-256)."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    private = private or ec.generate_private_key(ec.SECP256R1())
    authority = _certificate(_AUTHORITY, authority_key, authority_key, 30, is_authority=True)
    signer = _certificate("A test's signer", private, authority_key, days)
    in_pem = [certificate.public_bytes(Encoding.PEM) for certificate in (signer, authority)]
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificates(b"".join(in_pem), key, in_pem[1])


def _certificate(
    subject: str, key: Any, authority_key: Any, days: float, is_authority: bool = False
) -> x509.Certificate:
    now = datetime.now(timezone.utc)
    usage = dict.fromkeys(_UNUSED, False)
    signs, certifies = not is_authority, is_authority
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(_AUTHORITY))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.KeyUsage(signs, key_cert_sign=certifies, crl_sign=certifies, **usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    if not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=True)
    return builder.sign(authority_key, hashes.SHA256())


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, common), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests")]
    )
