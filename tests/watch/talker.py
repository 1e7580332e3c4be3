"""Sessions with apiservers through a node's proxy, each asked again and again; a line for each that breaks.

Run as a script inside a node's network namespace: `talker.py SESSIONS`. It says "talks" when each has had
an answer.
"""

import http.client
import ssl
import sys
import threading
import time

PATIENCE = 60
EACH = 0.2


def talk(first: threading.Barrier) -> None:
    """Ask for ever over one connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    session = http.client.HTTPSConnection("127.0.0.1", 8443, context=context, timeout=PATIENCE)
    try:
        session.connect()
        session.auto_open = 0
        waits = True
        while True:
            session.request("GET", "/readyz")
            session.getresponse().read()
            if waits:
                first.wait()
                waits = False
            time.sleep(EACH)
    except (OSError, http.client.HTTPException) as e:
        print(f"broken: {e!r}", flush=True)


def main(sessions: str) -> None:
    """Run until killed."""
    first = threading.Barrier(int(sessions), lambda: print("talks", flush=True))
    for _ in range(int(sessions)):
        threading.Thread(target=talk, args=(first,)).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
