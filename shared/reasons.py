"""The catalogue of what ends a task from outside of a conversion, or keeps it from being created."""
from __future__ import annotations

from shared.rules.refusal import Reason

CANCELLED = Reason("cancelled", "已被客户端取消", "cancelled by a client")
WORKER_LOST = Reason(
    "worker_lost", "执行该阶段的 worker 已失联 {count} 次", "its worker died {count} times in this stage",
    "该阶段需要的内存可能超过 worker 所有", "the stage may need more memory than the worker has")

# --- where the results go
OUTPUT_TAKEN = Reason(
    "output_conflict", "{path} 已存在, 且不是同一目标的较早任务的结果",
    "{path} exists, and is not the result of an earlier task of the same target",
    "换一个 output_path; 若确要替换, 发送 overwrite: true", "choose another output_path, or send overwrite: true")
OUTPUT_SHARED = Reason(
    "output_conflict", "尚未结束的任务 {task_id} 也会写入 {path}",
    "task {task_id}, which has not ended, writes {path} too",
    "换一个 output_path", "choose another output_path")
OUTPUT_NOT_FREE = Reason(  # of another tenant's task, of which nothing may be told
    "output_conflict", "{path} 正在被使用", "{path} is in use",
    "换一个 output_path", "choose another output_path")
OUTPUT_IN_FOLDER = Reason(
    "output_conflict", "{folder} 是另一任务的结果目录", "{folder} is the folder of another task's results",
    "换一个 output_path", "choose another output_path")
OUTPUT_UNSETTLED = Reason(
    "output_conflict", "任务 {task_id} 正在写入 {path}", "task {task_id} is writing {path}",
    "等它结束后重试, 或换一个 output_path", "retry when it has ended, or choose another output_path")
