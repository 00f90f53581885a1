"""Where readers tell how they fared: what they send becomes a line of this pod's log."""

import http.server
import signal
import sys
import threading


class Taken(http.server.BaseHTTPRequestHandler):
    """Takes one report."""

    def do_POST(self) -> None:
        """Write it down."""
        told = self.rfile.read(int(self.headers["Content-Length"])).decode()
        sys.stdout.write(f"{told}\n")  # in one piece: others are told at the same time
        sys.stdout.flush()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the log to the reports."""


server = http.server.ThreadingHTTPServer(("", 8080), Taken)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
sys.exit(0)
