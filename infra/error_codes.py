"""`python -m infra.error_codes`: write docs/error-codes.md from the table in `shared.rules.error_codes`."""
from __future__ import annotations

from pathlib import Path

from shared.rules.error_codes import ERRORS, WARNINGS, ErrorCode

PAGE = Path(__file__).resolve().parents[1] / "docs" / "error-codes.md"

HEAD = """# 错误代码 / Error codes

This page is made by `python -m infra.error_codes` from `shared/rules/error_codes.py`; a test compares the two.

`code` is stable: a client may branch on it. `message` and `hint` are for people. They name the field, the file or the
operator, and may change. Later versions may have further codes: treat an unknown code as "the task failed".

`message` and `hint` are Chinese, and English with `Accept-Language: en`. A task document holds both languages. The
words of a vendor's tool are quoted as the tool said them: inside a message, in `log_tail` and in `log_lines`.

The files beside an artefact (`report.json`, `report.html`, `manifest.json`) and the logs are English.

| raised by | who |
|---|---|
| `preflight` | the check before a task is created, and POST /tasks/validate |
| `stage` | a stage of the conversion: the model, a parameter, the calibration set or the toolchain is at fault |
| `worker` | the worker around the stage: limits, crashes, its own dependencies |
| `service` | a client's action, or the reaper that frees the tasks of dead workers |

"""

TABLE = "| code | raised by | 含义 / meaning | 提示 / hint |\n|---|---|---|---|\n"


def render() -> str:
    """The page's text."""
    return (HEAD + "## `error.code` of a failed task, `problems[].code` of a check\n\n" + TABLE + _rows(ERRORS)
            + "\n## `warnings[].code` of a check\n\nNothing is refused for these.\n\n" + TABLE + _rows(WARNINGS))


def _rows(codes: dict[str, ErrorCode]) -> str:
    return "".join(f"| `{code}` | {', '.join(row.raised_by)} | {row.meaning_zh}<br>{row.meaning_en} "
                   f"| {row.hint_zh}<br>{row.hint_en} |\n" for code, row in sorted(codes.items()))


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
