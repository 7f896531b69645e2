"""The catalogue of what ends a task from outside of a conversion."""
from __future__ import annotations

from shared.rules.refusal import Reason

CANCELLED = Reason("cancelled", "已被客户端取消", "cancelled by a client")
WORKER_LOST = Reason(
    "worker_lost", "执行该阶段的 worker 已失联 {count} 次", "its worker died {count} times in this stage",
    "该阶段需要的内存可能超过 worker 所有", "the stage may need more memory than the worker has")
