"""JSON logs, one object a line; libraries' noise is filtered here and nowhere else."""
from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from shared.request_ids import request_id

NOISY = ("pika", "pymongo", "urllib3", "werkzeug", "minio")


def _add_request_id(record: logging.LogRecord) -> bool:
    if known := request_id.get():
        record.request_id = known
    return True


def set_up_logs(level: str = "INFO", **fields: object) -> None:
    """Send the process's logs to stderr as JSON. `fields` (worker=…) appear in every line.

    CR and LF inside a message are escaped by the JSON encoding itself.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_request_id)
    handler.setFormatter(JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s",
                                       rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
                                       static_fields=fields, json_ensure_ascii=False))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs every failed attempt; ours are logged by the adapter
