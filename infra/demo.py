"""`make demo`: a real text detector (PP-OCRv4) through the whole service, embedded profile; then everything stops."""
from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from infra.client import Client
from infra.models import fetch_models
from infra.processes import Processes, embedded_environment
from infra.servers.base import free_port
from worker.plan import get_plans

MODEL = "det"


def main() -> int:
    cli = argparse.ArgumentParser(description="one real conversion, embedded profile")
    cli.add_argument("--data", type=Path, default=Path("data/demo"))
    data_dir = cli.parse_args().data.resolve()
    shutil.rmtree(data_dir, ignore_errors=True)  # a demo shows the stages run, not a cache
    console = Console(soft_wrap=True)
    port = free_port()
    processes = Processes(data_dir, "127.0.0.1", port, workers=1)
    command = processes.command(foreground=True)
    with (data_dir / "demo.log").open("wb") as log:
        service = subprocess.Popen(command, env=embedded_environment(data_dir), stdout=log, stderr=log)
    try:
        upload = data_dir / "buckets" / "models" / "detector.onnx"
        upload.parent.mkdir(parents=True)
        shutil.copyfile(fetch_models()[MODEL], upload)
        client = Client(f"http://127.0.0.1:{port}")
        client.wait_until_healthy()
        bundled = {plan.platform for plan in get_plans().values() if plan.environment.bundled}
        target = next(each for each in client.call("GET", "/platforms")["platforms"] if each["name"] in bundled)
        console.print(f"[bold]PP-OCRv4 text detector, 480x480, to {target['title']}[/bold]\n"
                      f"API documents while it runs: http://127.0.0.1:{port}/docs, /redoc, /openapi.json\n"
                      f"model: models/detector.onnx ({upload.stat().st_size / 1e6:.1f} MB)\n")
        task_id = client.create_task(task_type=target["task_types"][0], platform=target["name"],
                                     input_path="models/detector.onnx", parameters={"input_shape": "x:1,3,480,480"})
        return report(console, show_progress(console, client, task_id), data_dir / "buckets")
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(40)


def show_progress(console: Console, client: Client, task_id: str) -> dict[str, Any]:
    """Follow the task, a line a stage; the task as it ended."""
    started = time.monotonic()
    printed: set[str] = set()
    task: dict[str, Any] = {}
    with Progress(TextColumn("{task.description:<10}"), BarColumn(40), TextColumn("{task.percentage:>3.0f}%"),
                  TimeElapsedColumn(), console=console) as progress:
        bar: TaskID = progress.add_task("waiting", total=100)
        for task in client.follow_task(task_id):
            progress.update(bar, description=task["stage"] or task["status"], completed=task["progress"])
            for stage in task["stages"]:
                if stage["status"] == "completed" and stage["name"] not in printed:
                    printed.add(stage["name"])
                    progress.console.print(f"  {stage['name']:<10} {stage['seconds']:7.2f} s"
                                           + ("  (from the cache)" if stage["cached"] else ""))
    console.print(f"  {'in all':<10} {time.monotonic() - started:7.2f} s, {task['status']}\n")
    return task


def report(console: Console, task: dict[str, Any], buckets: Path) -> int:
    if task["status"] != "completed":
        error = task["error"]
        console.print(f"[red]{error['code']}[/red] in {error['stage']}: {error['message']}\n{error['hint']}")
        return 1
    result = task["result"]
    for output in result["accuracy"]["outputs"]:
        console.print(f"accuracy against ONNX Runtime, output {output['name']}: cosine {output['cosine']:.6f}, "
                      f"largest error {output['max_abs_error']:.2e}")
    for path in result["files"]:
        console.print(f"artefact  {buckets / path}")
    for what in ("manifest_path", "report_page_path"):
        console.print(f"{what.removesuffix('_path').replace('_page', ''):<9} {buckets / result[what]}")
    console.print(f"sha256    {result['sha256']}")
    console.print("\nNext: make serve, then open http://127.0.0.1:8000/docs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
