"""A stand-in for kube-apiserver: TLS, /readyz, /whoami, and 403 for everything else.

A client that does not speak TLS gets every byte back. A file `delay` beside the certificate says for how many
seconds every answer is late.

Run as a script inside the apiserver's network namespace; the standard library is all it needs.
"""

import argparse
import os
import socket
import socketserver
import ssl
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

CLIENT_HELLO = b"\x16"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection, kept alive as HTTP/1.1 does."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1
    disable_nagle_algorithm = True
    name = ""
    delay = Path()

    def do_GET(self) -> None:
        """Answer as an apiserver does to somebody whom it does not know."""
        if self.delay.exists():
            time.sleep(float(self.delay.read_text()))
        answers = {"/readyz": "ok", "/whoami": self.name}
        path = self.path.partition("?")[0]
        self.answer(200 if path in answers else 403, answers.get(path, "Forbidden"))

    def refuse(self) -> None:
        """Answer any other method; its body stays unread, so the connection ends."""
        self.close_connection = True
        self.answer(403, "Forbidden")

    do_POST = do_PUT = do_PATCH = do_DELETE = refuse  # noqa: N815 - http.server looks for these names

    def answer(self, status: int, body: str) -> None:
        """Send a whole response with a text body."""
        self.send_response(status)
        self.send_header("Apiserver", self.name)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())


class Server(socketserver.ThreadingTCPServer):
    """One thread for each connection; what may block, the TLS handshake say, is done there."""

    address_family = socket.AF_INET6  # and IPv4, as Linux does it
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096
    context: ssl.SSLContext

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve TLS to those who begin to speak it, and an echo to the others."""
        first = first_byte(request)
        if first == CLIENT_HELLO:
            tls = self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            try:
                super().finish_request(tls, client_address)
            finally:
                self.shutdown_request(tls)
        elif first:
            echo(request)


def first_byte(connection: socket.socket) -> bytes:
    """Look at what a client says first, without taking it; empty if it says nothing."""
    connection.settimeout(Handler.timeout)
    try:
        return connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return b""


def echo(connection: socket.socket) -> None:
    """Send every byte back until the client closes."""
    connection.settimeout(None)
    with suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(data)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--name", "--certificate", "--key"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    Handler.name = options.name
    Handler.delay = Path(options.certificate).with_name("delay")
    os.nice(-10)  # on a busy machine the proxy would be blamed for what this is late with
    Server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Server.context.load_cert_chain(options.certificate, options.key)
    with Server(("::", 6443), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
