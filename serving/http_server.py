"""A small threaded HTTP/1.1 server: a bounded number of connections, time and size limits, an orderly end.

One thread serves one connection. The standard library's server does the parsing; what it leaves open is settled here: a
connection above the limit is answered 503, a silent one is closed after `IDLE_SECONDS`, a TLS handshake happens in the
connection's own thread, and at the end idle connections are closed while calls in progress finish.
"""

import contextlib
import dataclasses
import email.message
import http
import http.server
import json
import logging
import socket
import ssl
import threading
import time
from typing import Any

from hrlrec_tf.errors import ConfigError
from serving.tls import Tls

IDLE_SECONDS = 30.0
MAX_CONNECTIONS = 1024

_LOG = logging.getLogger(__name__)
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclasses.dataclass(frozen=True)
class Request:
    """One HTTP request; `path` is without the query."""

    method: str
    path: str
    headers: email.message.Message
    body: bytes


@dataclasses.dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = "application/json"

    @classmethod
    def error(cls, status: int, sentence: str) -> "Answer":
        """`{"error": sentence}`."""
        return cls(status, json.dumps({"error": sentence}).encode())


class HttpServer:
    """Answers HTTP requests on one port; a subclass says what with `answer`.

    Args:
      host: the interface to listen on.
      port: 0 takes a free one.
      max_bytes: larger bodies are refused with 413.
      tls: the server's identity; None speaks plain HTTP.
    """

    def __init__(self, host: str, port: int, *, max_bytes: int, tls: Tls | None) -> None:
        self._host = host
        self._max_bytes = max_bytes
        self._tls = None if tls is None else tls.ssl_context()
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, once bound."""
        return self._port

    def answer(self, request: Request) -> Answer:
        """Answers one request; must not raise."""
        raise NotImplementedError

    def bind(self) -> None:
        """Opens the port; raises `ConfigError` when it cannot."""
        handler = type("Handler", (_Handler,), {"owner": self, "max_bytes": self._max_bytes})
        try:
            self._server = _Server((self._host, self._port), handler, self._tls)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}); choose another host or port"
            ) from error
        self._port = self._server.server_address[1]

    def start(self) -> None:
        """Begins to answer."""
        if self._server is not None:
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="rest", daemon=True)
            self._thread.start()

    def stop(self, grace_seconds: float) -> None:
        """Takes no new requests, lets those in progress finish within `grace_seconds`, closes the port."""
        if self._server is None:
            return
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.finish(grace_seconds)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: Any, tls: ssl.SSLContext | None) -> None:
        self.closing = threading.Event()
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, bool] = {}  # connection -> whether it is answering a request
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Without the base class's reverse look-up of the host's name, which can take seconds.
        socketserver_bind = super(http.server.HTTPServer, self).server_bind
        socketserver_bind()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            if len(self._connections) < MAX_CONNECTIONS:
                self._connections[request] = False
                return True
        with contextlib.suppress(OSError):
            request.settimeout(1)
            if self._tls is None:
                request.sendall(_BUSY)
        return False

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connections.pop(request, None)

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(IDLE_SECONDS)
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        try:
            secured = self._tls.wrap_socket(request, server_side=True)
        except (OSError, ValueError) as error:
            _LOG.info("a TLS handshake failed: %s", error)
            return
        with secured:
            with self._lock:
                self._connections[secured] = self._connections.pop(request, False)
            try:
                super().finish_request(secured, client_address)
            finally:
                with self._lock:
                    self._connections.pop(secured, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _LOG.debug("a connection ended early", exc_info=True)

    def mark(self, connection: socket.socket, busy: bool) -> None:
        """Notes whether a connection is answering a request."""
        with self._lock:
            self._connections[connection] = busy

    def finish(self, grace_seconds: float) -> None:
        """Closes the port and idle connections, then waits for the others."""
        self.closing.set()
        self.server_close()
        end = time.monotonic() + grace_seconds
        while True:
            with self._lock:
                for connection, busy in self._connections.items():
                    if not busy:
                        with contextlib.suppress(OSError):
                            connection.shutdown(socket.SHUT_RD)
                if not self._connections or time.monotonic() > end:
                    return
            time.sleep(0.02)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "hrlrec"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = -1
    owner: HttpServer
    max_bytes: int
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The base class's own refusals (a malformed request line, an unknown method), as JSON."""
        self.close_connection = True
        self._send(Answer.error(code, message or http.HTTPStatus(code).phrase))

    def _answer(self) -> None:
        self.server.mark(self.connection, busy=True)
        try:
            body = self._body()
            if body is not None:
                path = self.path.partition("?")[0]
                self._send(self.owner.answer(Request(self.command, path, self.headers, body)))
        finally:
            self.server.mark(self.connection, busy=False)

    def _body(self) -> bytes | None:
        """The request's body; None after it was refused."""
        length = self.headers.get("Content-Length", "0" if self.command == "GET" else None)
        if length is None or not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.send_error(http.HTTPStatus.LENGTH_REQUIRED, "state the body's length in Content-Length")
        elif int(length) > self.max_bytes:
            sentence = f"the body has {int(length)} bytes; at most {self.max_bytes} are taken, send less"
            self.send_error(http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True  # the client went away
        return None

    def _send(self, answer: Answer) -> None:
        if self.server.closing.is_set():
            self.close_connection = True
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()
