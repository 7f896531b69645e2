"""The figures as a table for people and as a file for programs."""
from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Line, Series

RESULTS = Path("bench-results")


def print_table(lines: Sequence[Line], console: Console) -> None:
    table = Table(title="median (least – greatest); a bound is on the ratio, or on the value where there is none")
    for heading in ("row", "what", "ours", "against", "other side", "ratio", "bound", "met"):
        table.add_column(heading, justify="right" if heading in ("ours", "other side", "ratio") else "left")
    last_row = lines[0].row if lines else ""
    for line in lines:
        if line.row != last_row:
            table.add_section()
            last_row = line.row
        table.add_row(line.row, line.what, _side(line.ours, line.unit), line.against, _side(line.other, line.unit),
                      "" if line.ratio is None else f"{line.ratio:.3f}x", str(line.bound or ""), _verdict(line))
    console.print(table)
    for remark in dict.fromkeys(line.remark for line in lines if line.is_missed and line.remark):
        console.print(f"- {remark}", markup=False)


def _side(series: Series | None, unit: str) -> str:
    if series is None:
        return ""
    low, high = series.spread
    return f"{_short(series.value)} ({_short(low)} – {_short(high)}) {unit}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _verdict(line: Line) -> str:
    if line.bound is None:
        return ""
    margin = line.bound.margin(line.judged)
    return f"[red]NO[/red], {-margin:.0%} off" if line.is_missed else f"[green]yes[/green], {margin:.0%} to spare"


def write_file(lines: Sequence[Line], rows: Sequence[str], about: dict[str, Any]) -> Path:
    """bench-results/<time>-<rows>.json in the current folder."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{''.join(sorted(set(rows)))}.json"
    path.write_text(json.dumps({"about": about, "lines": [line.as_json() for line in lines]}, indent=1,
                               ensure_ascii=False) + "\n")
    return path


def describe_machine() -> dict[str, Any]:
    """What the figures depend on. `load_before` is the load average when the bench began: above ~0.3 others ran too."""
    names = {line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")}
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cores": len(os.sched_getaffinity(0)), "cpu": sorted(names), "system": platform.platform(),
            "python": platform.python_version(), "commit": commit.stdout.strip(), "load_before": os.getloadavg()[0],
            "begun_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
