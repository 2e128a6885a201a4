"""Certificates for tests of transport security, made with `cryptography`."""

import dataclasses
import datetime
import ipaddress
import pathlib

import pytest

pytest.importorskip("cryptography", reason="certificates are made with the package cryptography")

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import NameOID  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: pathlib.Path
    key: pathlib.Path


class Authority:
    """A certificate authority whose files lie in `folder`; `ca` is its certificate."""

    def __init__(self, folder: pathlib.Path, name: str = "authority") -> None:
        self._folder, self._name = folder, _named(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> Pair:
        """A certificate for `name`, as DNS name, and 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = self._sign(_named(name), key, x509.SubjectAlternativeName(addresses))
        pair = Pair(self._folder / f"{name}-certificate.pem", self._folder / f"{name}-key.pem")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        return builder.add_extension(extension, critical=False).sign(self._key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
