"""Answers whose bytes are made while they are sent, piece by piece: downloads."""
from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import chain

import flask

# In a request's environment: what takes an answer's content over. A server that can send without a thread for each
# client sets it; without it the answer's body is an iterator, which holds its thread until the client has it all.
TAKES_CONTENT = "model_convert.takes_content"


class Content:
    """One answer's bytes. Whoever sends them reads the next piece when the client has taken the last one."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._lock = threading.Lock()  # it may be closed by another thread than the one that reads

    def read(self) -> bytes:
        """The next piece, empty at the end. It may wait for the object store, and raise what that raises."""
        with self._lock:
            return next(self._pieces, b"")

    def close(self) -> None:
        with self._lock:
            self._pieces = iter(())


def send_content(response: flask.Response, request: flask.Request, pieces: Iterator[bytes]) -> flask.Response:
    """The response with these bytes. The first piece is made now: what goes wrong with it is the request's error."""
    if request.method == "HEAD":
        return response
    first = next(pieces, b"")
    content = Content(chain([first] if first else [], pieces))
    take = request.environ.get(TAKES_CONTENT)
    if take is not None:
        take(content)
    else:
        response.response = iter(content.read, b"")
    return response
