"""A web server of one file with prescribed faults: cut connections, ranges, pages, redirects, raw bytes."""

import contextlib
import http.server
import re
import threading
from collections.abc import Iterator

PAGE = b"<!DOCTYPE html><html><body>Log in</body></html>"


class Files(http.server.BaseHTTPRequestHandler):
    """One file behind a server whose behaviour is a list of answers, the last one for good.

    An answer is a mapping: ``status``, ``cut`` (bytes sent before the connection is closed), ``content``,
    ``tag``, ``date``, ``ranges`` (whether it honours them), ``page``, ``wrong_range``, ``location``,
    ``unannounced`` (no length), or ``raw``: an iterable of bytes that are sent as they are.
    """

    def do_GET(self):
        server = self.server
        answer = {"content": server.content, "ranges": True, "tag": None, "date": None} | server.answers[0]
        if len(server.answers) > 1:
            server.answers.pop(0)
        asked = {"range": self.headers["Range"], "if_range": self.headers["If-Range"], "sent": 0}
        server.asked.append(asked)
        if "raw" in answer:
            with contextlib.suppress(OSError):
                for part in answer["raw"]:
                    self.wfile.write(part)
            return
        if "status" in answer:
            self.send_response(answer["status"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if "location" in answer:
            self.send_response(302)
            self.send_header("Location", answer["location"])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body, start = answer["content"], 0
        current = self.headers["If-Range"] in (None, answer["tag"], answer["date"])
        if self.headers["Range"] and answer["ranges"] and current:
            start = int(re.fullmatch(r"bytes=(\d+)-", self.headers["Range"])[1])
            shown = start + 7 if answer.get("wrong_range") else start
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {shown}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        for name, value in (("ETag", answer["tag"]), ("Last-Modified", answer["date"])):
            if value:
                self.send_header(name, value)
        if answer["ranges"]:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Type", "text/html" if answer.get("page") else "application/octet-stream")
        if not answer.get("unannounced"):
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start : start + answer.get("cut", len(body))]
        with contextlib.suppress(ConnectionError):
            self.wfile.write(part)
        asked["sent"] = len(part)

    def log_message(self, *args):
        """Keep the test output quiet."""


@contextlib.contextmanager
def serving(content: bytes, *answers: dict) -> Iterator[http.server.ThreadingHTTPServer]:
    """A server at work, with its answers in ``answers`` and what it was asked in ``asked``."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as running:
        running.content, running.asked, running.answers = content, [], list(answers) or [{}]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        # Waits for ever for a thread that has died.
        if thread.is_alive():
            running.shutdown()


def address(server: http.server.ThreadingHTTPServer) -> str:
    """Where the file is."""
    return f"http://127.0.0.1:{server.server_port}/data.bin"
