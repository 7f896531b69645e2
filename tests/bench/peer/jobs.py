"""Celery's side: `celery --app tests.bench.peer.jobs worker`."""
from __future__ import annotations

import os
import time

from celery import Celery

from tests.bench.peer.documents import tasks

app = Celery("peer", broker=os.environ["PEER_QUEUE_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_default_queue="peer",
    task_default_queue_type="quorum",
    task_default_exchange_type="topic",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)


@app.task
def convert(task_id: str) -> None:
    """The first stage begins with a write that says so, and there is nothing else to do."""
    begun = {"status": "running", "stage": "fetch", "started_at": time.time()}
    if tasks().update_one({"_id": task_id, "status": "pending"}, {"$set": begun}).matched_count:
        tasks().update_one({"_id": task_id}, {"$set": {"status": "completed", "finished_at": time.time()}})
