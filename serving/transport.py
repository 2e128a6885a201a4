"""How a client reaches a server: transport security, the options of its connection, and when a call is tried again."""

import dataclasses
import os
import pathlib
import random

import grpc

from hrlrec_tf.errors import ConfigError

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
# gRPC waits a second and more before it connects again, longer than most retries of a ranking call last.
_RECONNECT_MS = {"initial": 100, "min": 100, "max": 2000}

File = str | os.PathLike[str]


@dataclasses.dataclass(frozen=True)
class TlsCredentials:
    """Transport security: whom the client trusts and, for mutual TLS, who it is. All files are PEM.

    Attributes:
      ca: certificates of the authorities that may vouch for the server; None takes gRPC's own list.
      certificate, key: the client's own, both or none.
      server_name: the name in the server's certificate, where it is not the address's.
    """

    ca: File | None = None
    certificate: File | None = None
    key: File | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("mutual TLS needs the client's certificate and its key; give both or none")

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Their form in gRPC; raises `ConfigError` when a file cannot be read."""
        ca, key, certificate = (None if file is None else _read(file) for file in (self.ca, self.key, self.certificate))
        return grpc.ssl_channel_credentials(ca, key, certificate)


@dataclasses.dataclass(frozen=True)
class Retries:
    """When a call that found no server is made again: only on UNAVAILABLE, and never beyond the call's deadline.

    The n-th pause is drawn evenly between 0 and min(first_seconds * 2 ** n, longest_seconds): clients that one failure
    hit at the same time do not come back at the same time.

    Attributes:
      attempts: calls in all; 1 never tries again.
      first_seconds, longest_seconds: bounds of the pauses.
    """

    attempts: int = 4
    first_seconds: float = 0.05
    longest_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_seconds < 0 or self.longest_seconds < 0:
            raise ConfigError(f"retries need at least one attempt and pauses of 0 s or more: got {self}")

    def pause(self, failures: int) -> float:
        """Seconds to wait after that many failures, one or more."""
        return random.uniform(0, min(self.first_seconds * 2 ** (failures - 1), self.longest_seconds))


def channel_options(tls: TlsCredentials | None) -> list[tuple[str, int | str]]:
    """Options of a client's connection."""
    options: list[tuple[str, int | str]] = [
        (f"grpc.max_{way}_message_length", MAX_MESSAGE_BYTES) for way in ("send", "receive")
    ]
    options += [(f"grpc.{which}_reconnect_backoff_ms", value) for which, value in _RECONNECT_MS.items()]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def _read(file: File) -> bytes:
    try:
        return pathlib.Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the path of a PEM file") from error
