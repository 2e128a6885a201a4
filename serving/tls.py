"""TLS from TensorFlow Serving's SSL config file, which holds keys and certificates themselves, as PEM text."""

import dataclasses
import os
import pathlib
import ssl
import tempfile

import grpc

from hrlrec_tf.errors import ConfigError
from serving import text_protos


@dataclasses.dataclass(frozen=True)
class Tls:
    """A server's identity and whom it trusts, as PEM text.

    Attributes:
      key: the server's private key; never shown.
      certificate: the server's certificate, with those in between where there are any.
      authority: the certificates that clients' own must be signed by; "" trusts the system's.
      verify_clients: refuses connections without a client certificate that `authority` signed.
    """

    key: str = dataclasses.field(repr=False)
    certificate: str
    authority: str
    verify_clients: bool

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For a gRPC port."""
        pair = (self.key.encode(), self.certificate.encode())
        return grpc.ssl_server_credentials([pair], self.authority.encode() or None, self.verify_clients)

    def ssl_context(self) -> ssl.SSLContext:
        """For a plain socket; raises `ssl.SSLError` or `ValueError` when key and certificates do not fit."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files only; the folder is the owner's alone
            chain = pathlib.Path(folder) / "server.pem"
            chain.write_text(f"{self.key}\n{self.certificate}\n", encoding="utf-8")
            context.load_cert_chain(chain)
        if self.verify_clients:
            context.load_verify_locations(cadata=self.authority)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def read(path: str | os.PathLike[str]) -> Tls:
    """Reads an SSL config file; raises `ConfigError` naming the file and the field."""
    config = text_protos.read(path, text_protos.SSLConfig())
    for field in ("server_key", "server_cert"):
        if not getattr(config, field):
            raise ConfigError(f"{path}: has no {field}; give it as PEM text")
    if config.client_verify and not config.custom_ca:
        raise ConfigError(f"{path}: client_verify needs custom_ca, the authority that signed the clients' certificates")
    tls = Tls(config.server_key, config.server_cert, config.custom_ca, config.client_verify)
    try:
        tls.ssl_context()
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"{path}: server_key, server_cert and custom_ca are no PEM key and certificates that fit ({error})"
        ) from error
    return tls
