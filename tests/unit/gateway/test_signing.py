"""Pictures signed as C2PA specifies, checked by c2pa's own reader."""

import io
import json
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from insta_depth import InstaDepthError, __version__
from insta_depth.testing import AsyncFakeTransport
from insta_depth_gateway import app
from insta_depth_gateway.settings import SettingError, Settings
from insta_depth_gateway.signing import PictureSigner, signer_of
from PIL import Image

from benchmarks.certificates import Certificates, make_certificates
from tests.unit.gateway.test_service import ASKED, Bench

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
FORMATS = ("jpeg", "png", "webp")
GOOD = make_certificates()


def settings(folder: Path, certificates: Certificates = GOOD, **changes: str) -> Settings:
    (folder / "chain.pem").write_bytes(certificates.chain)
    (folder / "key.pem").write_bytes(certificates.key)
    files = {"c2pa_certificate": str(folder / "chain.pem"), "c2pa_key": str(folder / "key.pem")}
    return Settings(**(files | changes))


def encoded(output_format: str) -> bytes:
    file = io.BytesIO()
    IMAGE.save(file, output_format)
    return file.getvalue()


def read(
    content: bytes, output_format: str, authority: bytes = GOOD.authority
) -> tuple[str, list[str], dict[str, Any]]:
    """Return the state, the codes of what is wrong, and the active manifest."""
    trust = c2pa.Settings.from_dict({"trust": {"user_anchors": authority.decode()}, "verify": {"verify_trust": True}})
    with c2pa.Reader(f"image/{output_format}", io.BytesIO(content), context=c2pa.Context(trust)) as reader:
        found = json.loads(reader.json())
    wrong = [status["code"] for status in found.get("validation_status", [])]
    return found["validation_state"], wrong, found["manifests"][found["active_manifest"]]


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_reader_that_trusts_the_authority_trusts_the_picture(tmp_path: Path, output_format: str) -> None:
    signed = signer_of(settings(tmp_path)).sign(encoded(output_format), output_format)
    state, wrong, manifest = read(signed, output_format)
    assert (state, wrong) == ("Trusted", [])
    assert manifest["claim_generator_info"][0]["name"] == "Insta Depth on Triton"
    assert manifest["claim_generator_info"][0]["version"] == __version__
    (actions,) = (each for each in manifest["assertions"] if each["label"].startswith("c2pa.actions"))
    (created,) = actions["data"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert "thumbnail" not in manifest


@pytest.mark.parametrize("output_format", FORMATS)
def test_signing_changes_no_pixel_and_adds_little(tmp_path: Path, output_format: str) -> None:
    plain = encoded(output_format)
    signed = signer_of(settings(tmp_path)).sign(plain, output_format)
    np.testing.assert_array_equal(Image.open(io.BytesIO(signed)), Image.open(io.BytesIO(plain)))
    assert len(signed) - len(plain) < 20_000


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_changed_picture_is_found_out(tmp_path: Path, output_format: str) -> None:
    plain = encoded(output_format)
    signed = bytearray(signer_of(settings(tmp_path)).sign(plain, output_format))
    signed[signed.index(plain[-60:-30])] ^= 0x01
    state, wrong, _ = read(bytes(signed), output_format)
    assert state == "Invalid"
    assert "assertion.dataHash.mismatch" in wrong


def test_another_authoritys_reader_does_not_trust_it(tmp_path: Path) -> None:
    signed = signer_of(settings(tmp_path)).sign(encoded("png"), "png")
    state, wrong, _ = read(signed, "png", make_certificates().authority)
    assert (state, wrong) == ("Valid", ["signingCredential.untrusted"])


@pytest.mark.parametrize(
    "private",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["P-384", "P-521", "RSA", "Ed25519"],
)
def test_every_kind_of_key_signs(tmp_path: Path, private: Any) -> None:
    certificates = make_certificates(private=private)
    signed = signer_of(settings(tmp_path, certificates)).sign(encoded("png"), "png")
    assert read(signed, "png", certificates.authority)[:2] == ("Trusted", [])


OTHER = make_certificates()
WRONG = {
    "expired": (make_certificates(days=-1), r"_CERTIFICATE: the certificate is valid from \S+ to \S+, not now"),
    "another key": (Certificates(GOOD.chain, OTHER.key, b""), "_KEY: is not the key of the first certificate"),
    "no certificate": (Certificates(b"nothing", GOOD.key, b""), "_CERTIFICATE: is no certificate in PEM"),
    "no key": (Certificates(GOOD.chain, b"nothing", b""), "_KEY: is no private key in PEM"),
    "an authority's": (Certificates(GOOD.authority, GOOD.key, b""), "_KEY: is not the key of the first certificate"),
    "a curve that is not taken": (
        make_certificates(private=ec.generate_private_key(ec.SECP256K1())),
        "_KEY: C2PA takes keys of",
    ),
}


@pytest.mark.parametrize(("certificates", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_sign_is_refused_at_start_by_name(tmp_path: Path, certificates: Certificates, message: str) -> None:
    with pytest.raises(SettingError, match=f"^INSTA_DEPTH_GATEWAY_C2PA{message}"):
        app._signer(settings(tmp_path, certificates))


def test_a_certificate_that_c2pa_does_not_take_is_refused_at_start(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 1024)
    with pytest.raises(SettingError, match=r"^INSTA_DEPTH_GATEWAY_C2PA_CERTIFICATE: .* does not sign: "):
        app._signer(settings(tmp_path, make_certificates(private=private)))


@pytest.mark.parametrize("missing", ["c2pa_certificate", "c2pa_key"])
def test_a_file_that_is_missing_or_not_named_is_said(tmp_path: Path, missing: str) -> None:
    variable = f"INSTA_DEPTH_GATEWAY_{missing.upper()}"
    with pytest.raises(SettingError, match=f"^{variable}: '/none' cannot be read: No such file"):
        app._signer(settings(tmp_path, **{missing: "/none"}))
    with pytest.raises(SettingError, match=f"^{variable}: is needed with the other one"):
        app._signer(settings(tmp_path, **{missing: ""}))


def test_without_the_packages_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.importlib.util, "find_spec", lambda name: None)
    assert app._signer(Settings()) is None
    with pytest.raises(SettingError, match=r"pip install 'insta-depth-gateway\[c2pa\]'"):
        app._signer(settings(tmp_path))


async def test_callers_get_signed_pictures(tmp_path: Path) -> None:
    bench = Bench(tmp_path, AsyncFakeTransport(picture=encoded("jpeg")))
    bench.service._signer = signer_of(settings(tmp_path))
    *_, picture = [event async for event in bench.service.stream(bench.account, ASKED)]
    assert read(picture.generation.image, "jpeg")[0] == "Trusted"
    await bench.service.close()


async def test_a_picture_that_cannot_be_signed_costs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, AsyncFakeTransport())  # its picture is none
    bench.service._signer = PictureSigner(GOOD.chain, GOOD.key, "es256")
    with pytest.raises(c2pa.C2paError):
        _ = [event async for event in bench.service.stream(bench.account, ASKED)]
    assert not issubclass(c2pa.C2paError, InstaDepthError)  # it is answered as an error of the server
    balance, held, spent = bench.books()
    assert (balance, held, spent) == (10, 0, 0)
    await bench.service.close()
