"""TLS and mutual TLS from TensorFlow Serving's SSL config file, on both ports."""

import datetime
import ipaddress
import json
import pathlib
import socket
import ssl
import urllib.error
import urllib.request

import grpc
import pytest
import toy

from hrlrec_tf.errors import ConfigError
from serving import tls
from serving.server import EmbeddedServer

x509 = pytest.importorskip("cryptography.x509", reason="certificates are made with `cryptography`")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402


class Identity:
    """A key and a certificate, signed by `issuer` or by itself; both as PEM."""

    def __init__(self, name: str, issuer: "Identity | None" = None) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = issuer or self
        now = datetime.datetime.now(datetime.timezone.utc)
        local = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(signer._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(local, critical=False)
            .sign(signer._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM)
        self.key = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@pytest.fixture(scope="module")
def authority() -> Identity:
    return Identity("authority")


@pytest.fixture(scope="module")
def server_identity(authority: Identity) -> Identity:
    return Identity("server", authority)


def quoted(pem: bytes) -> str:
    return json.dumps(pem.decode())


def write(path: pathlib.Path, identity: Identity, more: str = "") -> pathlib.Path:
    path.write_text(f"server_key: {quoted(identity.key)} server_cert: {quoted(identity.certificate)} {more}")
    return path


def ask(address: str, credentials: grpc.ChannelCredentials | None) -> list[list[float]]:
    channel = grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    with channel:
        return toy.y(toy.stub(channel).Predict(toy.scaling([1.0]), timeout=10))


def ask_rest(address: str, context: ssl.SSLContext) -> int:
    with urllib.request.urlopen(f"https://{address}/v1/models/toy", context=context, timeout=10) as answer:
        return answer.status


def test_tls(toy_versions, tmp_path, authority, server_identity):
    config = write(tmp_path / "ssl.txt", server_identity)
    with EmbeddedServer(toy_versions, 0, model_name="toy", rest_port=0, ssl_config_file=config) as server:
        assert ask(server.address, grpc.ssl_channel_credentials(authority.certificate)) == [[3.0]]
        assert ask_rest(server.rest_address, ssl.create_default_context(cadata=authority.certificate.decode())) == 200
        with pytest.raises(grpc.RpcError) as refused:
            ask(server.address, None)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(OSError):
            toy.http(server.rest_address, "/v1/models/toy")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask_rest(server.rest_address, ssl.create_default_context())


def test_mutual_tls(toy_versions, tmp_path, authority, server_identity):
    config = write(
        tmp_path / "ssl.txt", server_identity, f"custom_ca: {quoted(authority.certificate)} client_verify: true"
    )
    known, stranger = Identity("client", authority), Identity("stranger")
    with EmbeddedServer(toy_versions, 0, model_name="toy", rest_port=0, ssl_config_file=config) as server:
        trusted = authority.certificate
        assert ask(server.address, grpc.ssl_channel_credentials(trusted, known.key, known.certificate)) == [[3.0]]
        for wrong in (
            grpc.ssl_channel_credentials(trusted),
            grpc.ssl_channel_credentials(trusted, stranger.key, stranger.certificate),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                ask(server.address, wrong)
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        context = ssl.create_default_context(cadata=trusted.decode())
        with pytest.raises(OSError):
            ask_rest(server.rest_address, context)
        chain = tmp_path / "client.pem"
        chain.write_bytes(known.key + known.certificate)
        context.load_cert_chain(chain)
        assert ask_rest(server.rest_address, context) == 200


def test_a_silent_handshake_keeps_nobody_waiting(toy_versions, tmp_path, authority, server_identity):
    config = write(tmp_path / "ssl.txt", server_identity)
    with EmbeddedServer(toy_versions, 0, model_name="toy", rest_port=0, ssl_config_file=config) as server:
        host, _, port = server.rest_address.rpartition(":")
        with socket.create_connection((host, int(port))):
            context = ssl.create_default_context(cadata=authority.certificate.decode())
            assert ask_rest(server.rest_address, context) == 200


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda config: "", "has no server_key; give it as PEM text"),
        (lambda config: config.partition("server_cert")[0], "has no server_cert"),
        (lambda config: config + "client_verify: true", "client_verify needs custom_ca"),
        (lambda config: config.replace("BEGIN CERT", "BEGIN CART"), "no PEM key and certificates that fit"),
        (lambda config: config + 'custom_ca: "x" client_verify: true', "no PEM key and certificates that fit"),
    ],
)
def test_wrong_files(tmp_path, server_identity, change, sentence):
    path = write(tmp_path / "ssl.txt", server_identity)
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigError, match=f"^{path}: .*{sentence}"):
        tls.read(path)


def test_the_key_is_never_shown(tmp_path, server_identity):
    assert "PRIVATE" not in repr(tls.read(write(tmp_path / "ssl.txt", server_identity)))
