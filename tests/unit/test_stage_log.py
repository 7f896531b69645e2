"""What clients see of a tool's log: its last lines and its end, as on a terminal, and nothing of the machine."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worker import stage_log
from worker.stage_log import LINE_CHARS, LINES, LINES_WITHIN_BYTES, TAIL_BYTES, read_last_lines, read_tail

TQDM = "".join(f"\rtuning: {percent:3d}%|{'#' * (percent // 10):<10}| {percent}/100" for percent in range(101))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def lines(path: Path) -> Callable[[str | bytes], list[str]]:
    def lines(content: str | bytes) -> list[str]:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_last_lines(path, path.parent)

    return lines


def test_the_last_five_lines_are_told_oldest_first(lines: Callable[[str], list[str]]) -> None:
    assert lines("".join(f"line {number}\n" for number in range(100))) == [f"line {n}" for n in range(95, 100)]
    assert LINES == 5


def test_a_line_that_is_not_ended_yet_is_told_too(lines: Callable[[str], list[str]]) -> None:
    assert lines("done\nworking") == ["done", "working"]


def test_lines_that_say_nothing_are_left_out(lines: Callable[[str], list[str]]) -> None:
    assert lines("a\n\n  \n\t\r\n\x1b[0m\nb\n\n\n") == ["a", "b"]
    assert lines("") == lines("\n\n") == []


def test_a_progress_bar_is_one_line_in_its_last_state(lines: Callable[[str], list[str]]) -> None:
    assert lines(f"start\n{TQDM}") == ["start", "tuning: 100%|##########| 100/100"]
    assert lines(f"start\n{TQDM}\r\ndone\r\n") == ["start", "tuning: 100%|##########| 100/100", "done"]
    assert lines("10%\r20%\r   \r") == ["20%"], "a bar that was wiped said this last"


@pytest.mark.parametrize(("said", "shown"), [
    ("\x1b[31;1mred\x1b[0m", "red"), ("\x1b[2K\x1b[1Gdone", "done"), ("\x1b]0;title\x07text", "text"),
    ("\x1b]8;;http://h/\x1b\\link\x1b]8;;\x1b\\", "link"), ("\x1b(Bplain", "plain"), ("\x1bPq#0;2\x1b\\after", "after"),
    ("half an escape \x1b[3", "half an escape"), ("half \x1b", "half"), ("c1 \x9b31mred", "c1 red"),
    ("a\x00b\x07c\x7fd", "abcd"), ("tab\there", "tab here"), ("\u202eright to left\u2066", "right to left"),
    ("zero\u200bwidth\ufeff", "zerowidth"), ("line\u2028separator", "line separator"),
    ("  indented  ", "  indented"), ("正在编译 \U0001f642 ü", "正在编译 \U0001f642 ü")])
def test_a_line_is_plain_text(lines: Callable[[str], list[str]], said: str, shown: str) -> None:
    assert lines(said + "\n") == [shown]
    assert shown.isprintable()


def test_a_long_line_is_cut(lines: Callable[[str], list[str]]) -> None:
    assert lines("x" * 5000 + "\nend") == ["x" * LINE_CHARS, "end"]
    assert LINE_CHARS == 300


def test_what_is_no_utf_8_is_told_as_far_as_it_can_be_read(lines: Callable[[bytes], list[str]]) -> None:
    assert lines("转换".encode("gbk") + b" ok\n") == ["ת\ufffd\ufffd ok"]
    assert lines("完成".encode()[:-1]) == ["完"], "the rest of the character is still to come"


def test_only_the_end_of_the_file_is_read_and_from_a_lines_beginning(
        lines: Callable[[bytes], list[str]], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    read_end = stage_log.read_end
    monkeypatch.setattr(stage_log, "read_end", lambda path, limit: (
        found := read_end(path, limit), sizes.append(len(found)))[0])
    assert lines(("字" * (LINES_WITHIN_BYTES // 3 + 7) + "\rlast").encode()) == ["last"]
    assert lines(b"y" * (50 << 20) + b"\nz") == ["z"]
    assert lines(b"no end " * 10_000) == [(b"no end " * 10_000)[-LINES_WITHIN_BYTES:][:LINE_CHARS].decode()]
    assert max(sizes) <= LINES_WITHIN_BYTES + 1


def test_hostile_lines_cost_little(lines: Callable[[str], list[str]]) -> None:
    began = time.monotonic()
    for piece in ("\x1b]", "\x1b[", "/", "/a", "\x1b", "\r", "\x1b[1;", "-I/", "/usr/", " /usr", "\x1bP"):
        lines(piece * LINES_WITHIN_BYTES)
    assert time.monotonic() - began < 2.0


# --- the machine's folders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "shown"), [
    ("saved {folder}/out/model.bin", "saved out/model.bin"),
    (f'File "{Path(stage_log.__file__)}", line 3', 'File "…/stage_log.py", line 3'),
    (f"--input={sys.prefix}/lib/x.so", "--input=…/x.so"), ("-I/usr/include/torch -L/usr/lib/x", "-I…/torch -L…/x"),
    ("file:///usr/share/doc/x", "file:…/x"), ("open('/tmp/a/b.onnx')", "open('…/b.onnx')"),
    ("in /usr/lib/python3/: no such file", "in …/: no such file"), ("/usr/bin:/usr/local/bin", "…/bin:…/bin"),
    # What only looks alike: names in models, relative paths, fractions, URLs.
    ("node /model.22/cv2/conv/Conv failed", "node /model.22/cv2/conv/Conv failed"), ("3/10 done", "3/10 done"),
    ("out/usr/lib/x", "out/usr/lib/x"), ("./tmp/x/y", "./tmp/x/y"), ("see https://example.org/usr/x", None),
    ("and/or", "and/or"), ("/", "/")])
def test_no_folder_of_this_machine_is_told(lines: Callable[[str], list[str]], path: Path, said: str,
                                           shown: str | None) -> None:
    said = said.replace("{folder}", str(path.parent))
    expected = [said if shown is None else shown]
    assert lines(said) == expected
    assert read_tail(path, path.parent).splitlines() == expected


# --- the end of a failed stage's log ----------------------------------------------------------------------------------


def test_the_tail_has_every_state_and_every_line_and_is_clean(path: Path) -> None:
    path.write_text("a\n\n  b\r\x1b[31mc\x1b[0m\n")
    assert read_tail(path, path.parent) == "a\n\n  b\nc\n"


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_the_tail_of_a_long_log_begins_with_a_whole_line(path: Path, end: str) -> None:
    path.write_text("".join(f"line {number:04d}{end}" for number in range(1000)))
    tail = read_tail(path, path.parent)
    assert TAIL_BYTES - 10 <= len(tail) <= TAIL_BYTES
    assert tail.startswith("line 0") and tail.endswith("line 0999\n")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.symlink_to(path.with_name("secret")), os.mkfifo,
                                  os.mkdir])
def test_a_log_that_is_none_says_nothing(path: Path, make: Callable[[Path], None]) -> None:
    path.with_name("secret").write_text("secret")
    make(path)
    assert (read_last_lines(path, path.parent), read_tail(path, path.parent)) == ([], "")
    assert stage_log.size_bytes(path) == 0
