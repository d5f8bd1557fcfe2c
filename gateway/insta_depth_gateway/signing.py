"""C2PA Content Credentials: who made a picture, signed in its file, so that a later change is found out.

The specification: https://spec.c2pa.org. Signing and reading are c2pa-python's.
"""

import io
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from insta_depth import __version__

from insta_depth_gateway.settings import PREFIX, SettingError, Settings

_CERTIFICATE, _KEY = f"{PREFIX}C2PA_CERTIFICATE", f"{PREFIX}C2PA_KEY"
_GENERATOR = {"name": "Insta Depth on Triton", "version": __version__}
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_ACTION = {"action": "c2pa.created", "digitalSourceType": _SOURCE_TYPE, "softwareAgent": _GENERATOR}
_MANIFEST = {
    "claim_generator_info": [_GENERATOR],
    "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [_ACTION]}}],
}
# A thumbnail would be larger than the picture's signature by far.
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_SMALLEST_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de000000"
    "0c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


class PictureSigner:
    """Signs pictures as the operator: with a certificate, those that issued it, and its key."""

    def __init__(self, certificates: bytes, key: bytes, algorithm: str, timestamp_url: str = "") -> None:
        self._info = c2pa.C2paSignerInfo(algorithm.encode(), certificates, key, timestamp_url.encode() or None)
        self._context = c2pa.Context(c2pa.Settings.from_dict(_SETTINGS))

    def sign(self, content: bytes, output_format: str) -> bytes:
        """Return a jpeg, png or webp with its credentials, the pixels as they are. Raises `c2pa.C2paError`."""
        media_type, signed = f"image/{output_format}", io.BytesIO()
        with c2pa.Signer.from_info(self._info) as signer, c2pa.Builder(_MANIFEST, self._context) as builder:
            builder.sign(signer, media_type, io.BytesIO(content), signed)
        return signed.getvalue()


def signer_of(settings: Settings) -> PictureSigner:
    """Return the signer that the settings name.

    Raises `SettingError`, naming the variable, for a file that cannot be read, a certificate that is not valid now or
    is not one for signing pictures, and a key that is not the certificate's.
    """
    certificates, key = _read(_CERTIFICATE, settings.c2pa_certificate), _read(_KEY, settings.c2pa_key)
    signer = PictureSigner(certificates, key, _checked(certificates, key), settings.c2pa_timestamp_url)
    try:
        signer.sign(_SMALLEST_PNG, "png")
    except c2pa.C2paError as error:
        raise SettingError(f"{_CERTIFICATE}: {settings.c2pa_certificate!r} does not sign: {error}") from None
    return signer


def _checked(certificates: bytes, key: bytes) -> str:
    """Return the name of the key's algorithm; raises `SettingError` for what is wrong with either."""
    try:
        certificate = x509.load_pem_x509_certificates(certificates)[0]
    except ValueError as error:
        raise SettingError(f"{_CERTIFICATE}: is no certificate in PEM: {error}") from None
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise SettingError(f"{_KEY}: is no private key in PEM without a password: {error}") from None
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= datetime.now(timezone.utc) <= end:
        raise SettingError(f"{_CERTIFICATE}: the certificate is valid from {start:%Y-%m-%d} to {end:%Y-%m-%d}, not now")
    if _public(private.public_key()) != _public(certificate.public_key()):
        raise SettingError(f"{_KEY}: is not the key of the first certificate in {_CERTIFICATE}")
    return _algorithm(private)


def _algorithm(private: Any) -> str:
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise SettingError(f"{_KEY}: C2PA takes keys of P-256, P-384, P-521, RSA and Ed25519, not this one")


def _public(key: Any) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(variable: str, path: str) -> bytes:
    if not path:
        raise SettingError(f"{variable}: is needed with the other one")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingError(f"{variable}: {path!r} cannot be read: {error.strerror}") from None
