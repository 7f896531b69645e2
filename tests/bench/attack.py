"""What hurts a gateway, all at once: `python -m tests.bench.attack PORT TASK_ID SECONDS`, a process of its own.

Half-sent requests, idle connections and event streams, opened anew as they are closed; and a request of each costly
kind every second. Prints `{kind: {what was answered: how often}}` at the end.
"""
from __future__ import annotations

import json
import selectors
import socket
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import Any

import urllib3

HALF_SENT, IDLE, STREAMS = 300, 300, 40
HALF = (b"POST /tasks/list HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nHos")
INTEL = {"task_type": "onnx_to_openvino", "platform": "intel"}
SET = "calibration/many"  # a prefix with many folders and no sample


def costly() -> dict[str, tuple[str, Any]]:
    """A path and a body of each kind."""
    patterns = ["(?i)" + f"[{chr(0x100 + number)}-\uffff]" * 84 for number in range(12)]
    int8 = {"precision": "int8", "input_shape": "x:1,3,48,192"}
    return {
        "patterns": ("/tasks/validate", INTEL | {"input_path": "models/cls.onnx", "parameters": int8 | {
            "calibration": SET, "quantization": {"ignored_scope": {"patterns": patterns}}}}),
        "a calibration set": ("/tasks/validate", INTEL | {
            "input_path": "models/cls.onnx", "parameters": int8 | {"calibration": SET}}),
        "create": ("/tasks/create", INTEL | {"input_path": "models/cls.onnx", "parameters": int8 | {
            "calibration": SET, "quantization": {"ignored_scope": {"patterns": patterns}}}}),
        "fields": ("/tasks/list", {f"field {number}": number for number in range(45_000)}),
        "long parameters": ("/tasks/create", INTEL | {"input_path": "models/cls.onnx", "parameters": {
            "input_shape": "1," * 400_000}}),
        "a page": ("/tasks/list", {"page_size": 100}),
    }


class Crowd:
    """Connections that are kept open."""

    def __init__(self, port: int, task_id: str) -> None:
        self._port = port
        stream = (b"GET /tasks/%s/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
                  % task_id.encode())
        self._kinds = [(f"half-sent {index}", half, HALF_SENT // 2) for index, half in enumerate(HALF)]
        self._kinds += [("idle", b"", IDLE), ("streams", stream, STREAMS)]
        self._poll = selectors.DefaultSelector()
        self.ended: Counter[str] = Counter()

    def run(self, end: float) -> None:
        for kind, sent, count in self._kinds:
            for _ in range(count):
                self._open(kind, sent)
        while time.monotonic() < end:
            for key, _ in self._poll.select(0.2):
                connection, (kind, sent) = key.fileobj, key.data
                assert isinstance(connection, socket.socket)
                try:
                    alive = bool(connection.recv(65536))
                except OSError:
                    alive = False
                if not alive:
                    self._poll.unregister(connection)
                    connection.close()
                    self.ended[kind] += 1
                    self._open(kind, sent)

    def _open(self, kind: str, sent: bytes) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        connection.sendall(sent)
        self._poll.register(connection, selectors.EVENT_READ, (kind, sent))


def main(port: int, task_id: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    crowd = Crowd(port, task_id)
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    threads = [threading.Thread(target=crowd.run, args=(end,))]

    def send(kind: str, path: str, body: bytes) -> None:
        try:
            answer = urllib3.request("POST", f"http://127.0.0.1:{port}{path}", body=body, retries=False, timeout=60,
                                     headers={"Content-Type": "application/json"})
            answers[kind][str(answer.status)] += 1
        except urllib3.exceptions.HTTPError as error:
            answers[kind][type(error).__name__] += 1

    threads[0].start()
    requests = {kind: (path, json.dumps(body).encode()) for kind, (path, body) in costly().items()}
    while time.monotonic() < end:
        for kind, (path, body) in requests.items():
            threads.append(threading.Thread(target=send, args=(kind, path, body)))
            threads[-1].start()
        time.sleep(1.0)
    for thread in threads:
        thread.join()
    print(json.dumps({"closed": crowd.ended} | answers))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
