"""A stand-in for kubelet: logs that never end, and commands that talk without end, of whatever container.

Each line says through which apiserver it goes. Run as a script in the node's network namespace; the standard
library is all it needs.
"""

import argparse
import ssl
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 10250
EVERY = 0.2
# SPDY/3.1, as exec upgrades to: kubectl opens a stream for errors, then one for standard output
CONTROL, VERSION = 0x8000, 3
SYN_STREAM, SYN_REPLY, PING = 1, 2, 6
STDOUT = 3


class Handler(BaseHTTPRequestHandler):
    """Answers one connection of an apiserver's."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Logs: /containerLogs/NAMESPACE/POD/CONTAINER."""
        if not self.path.startswith("/containerLogs/"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            self.talk(lambda line: self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line)))
        self.close_connection = True

    def do_POST(self) -> None:
        """A command: /exec/NAMESPACE/POD/CONTAINER."""
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "SPDY/3.1")
        self.send_header("X-Stream-Protocol-Version", "v4.channel.k8s.io")
        self.end_headers()
        with suppress(OSError, struct.error):
            self.spdy()
        self.close_connection = True

    def spdy(self) -> None:
        """Accepts every stream, and talks on that of standard output."""
        headers, sending = zlib.compressobj(), threading.Lock()

        def send(*parts: bytes) -> None:
            with sending:
                self.wfile.write(b"".join(parts))

        while True:
            kind, number, size = struct.unpack(">HHI", self.rfile.read(8))
            payload = self.rfile.read(size & 0xFFFFFF)
            if kind == CONTROL | VERSION and number == PING:
                send(struct.pack(">HHI", kind, PING, len(payload)), payload)
            if kind == CONTROL | VERSION and number == SYN_STREAM:
                none = headers.compress(bytes(4)) + headers.flush(zlib.Z_SYNC_FLUSH)
                send(struct.pack(">HHI", kind, SYN_REPLY, 4 + len(none)), payload[:4], none)
                if struct.unpack(">I", payload[:4])[0] == STDOUT:
                    threading.Thread(target=self.talk_on, args=(send,), daemon=True).start()

    def talk_on(self, send: Callable[..., None]) -> None:
        """Talks on the stream of standard output, until it breaks."""
        with suppress(OSError):
            self.talk(lambda line: send(struct.pack(">II", STDOUT, len(line)), line))

    def talk(self, say: Callable[[bytes], object]) -> None:
        """Says lines for ever; raises OSError when nobody hears them any more."""
        number = 0
        while True:
            say(f"via {self.client_address[0]} {number}\n".encode())
            number += 1
            time.sleep(EVERY)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--address", "--certificate", "--key"):
        parser.add_argument(option, required=True)
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    with ThreadingHTTPServer((options.address, PORT), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
