"""What clients see of a tool's log: its last lines and its end, as on a terminal, and nothing of the machine."""
from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker import stage_log
from worker.log_cleaning import MAX_HELD_CHARS, LogCleaner
from worker.stage_log import LINE_CHARS, LINES, LINES_WITHIN_BYTES, TAIL_BYTES, read_last_lines, read_on, read_tail

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
    began = time.process_time()
    for piece in ("\x1b]", "\x1b[", "/", "/a", "\x1b", "\r", "\x1b[1;", "-I/", "/usr/", " /usr", "\x1bP"):
        lines(piece * LINES_WITHIN_BYTES)
    assert time.process_time() - began < 20.0  # in proportion to the square of the length it were hours


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


# --- stack traces and addresses ---------------------------------------------------------------------------------------

TRACE = """before
Traceback (most recent call last):
  File "/usr/lib/python3/x.py", line 3, in run
    return go(  # what it ran
           ^^^
  [Previous line repeated 7 more times]
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "<string>", line 1, in <module>
ValueError: no such thing
after
"""


@pytest.mark.parametrize(("said", "shown"), [
    (TRACE, ["before", "KeyError: 'a'", "ValueError: no such thing", "after"]),
    (TRACE.replace("\n", "\nE tool: ").replace("before", "E tool: before"),
     ["E tool: before", "E tool:", "E tool: KeyError: 'a'", "E tool:", "E tool:", "E tool:",
      "E tool: ValueError: no such thing", "E tool: after", "E tool:"]),
    ('Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f12a4b5c6d7 (most recent call first):\n'
     '  File "/usr/x.py", line 3 in run\nend\n', ["Fatal Python error: Segmentation fault", "end"]),
    ('    return x\n  File "a.py", line 2, in go\n    y\nTypeError: z\n', ["    return x", "TypeError: z"]),
    ("  indented, and no trace\n", ["  indented, and no trace"]),
    ('see File "a.py", line 3\n', None), ("Traceback of packets\n", None),
    ("E tool: a bad end: Traceback (most recent call last):\n  File \"a\", line 1, in b\nX: y\n",
     ["E tool: a bad end:", "X: y"])])
def test_of_a_stack_trace_what_it_ends_with_is_told(path: Path, said: str, shown: list[str] | None) -> None:
    path.write_text(said)
    told = read_tail(path, path.parent)
    expected = said.splitlines() if shown is None else shown
    assert [line.rstrip() for line in told.splitlines() if line] == expected
    assert [line.rstrip() for line in read_last_lines(path, path.parent)] == expected[-LINES:]


def test_an_address_in_memory_is_not_told(lines: Callable[[str], list[str]]) -> None:
    assert lines("<x.Y object at 0x7f12a4b5c6d7> at 0x7f12a4b5c6d8, code 0x1F, mask 0xffffffff") == [
        "<x.Y object> at 0x…, code 0x1F, mask 0xffffffff"]


# --- the log that is shared while it grows ----------------------------------------------------------------------------

PIECES = st.lists(st.sampled_from([
    "line\n", "a", "\r", "\n", "\r\n", "\x1b[31m", "red\x1b[0m\n", "完成", "\U0001f642", "/usr/lib/x.so", " ",
    "  10%\r",
    "Traceback (most recent call last):\n", '  File "/usr/x.py", line 1, in y\n', "\x00", "0x7f12a4b5c6d7", "\xff"]),
    max_size=30).map("".join)


@settings(deadline=None)
@given(PIECES, st.lists(st.integers(0, 300), max_size=6))
@example("a\r\nb", [2])
@example("完", [1])
def test_in_whatever_pieces_it_comes_the_same_is_told(text: str, cuts: list[int]) -> None:
    folder, data = Path("/tmp/stage"), text.encode("latin-1" if text.isascii() else "utf-8")
    whole = LogCleaner(folder).take(data, ended=True)
    cleaner, ends = LogCleaner(folder), sorted({*cuts, len(data)} | {0})
    told = [cleaner.take(data[start:end]) for start, end in pairwise(ends)]
    told.append(cleaner.take(b"", ended=True))
    assert "".join(told) == whole
    assert all(char.isprintable() or char == "\n" for char in whole)


def test_a_line_is_told_when_it_is_whole_and_an_endless_one_at_some_length(tmp_path: Path) -> None:
    cleaner = LogCleaner(tmp_path)
    assert cleaner.take(b"one\ntw") == "one\n"
    assert cleaner.take(b"o\r") == "", "perhaps a line feed follows"
    assert cleaner.take(b"\nthree\n") == "two\nthree\n"
    assert [cleaner.take(b"x" * (MAX_HELD_CHARS // 2)) for _ in range(3)] == [
        "", "", "x" * (MAX_HELD_CHARS // 2 * 3) + "\n"]


def test_a_log_is_read_on_from_where_the_last_read_ended(path: Path) -> None:
    path.write_bytes(b"one\n")
    assert read_on(path, 0, 100) == (b"one\n", 4)
    assert read_on(path, 4, 100) == (b"", 4)
    with path.open("ab") as file:
        file.write(b"two\nthree\nfour\n")
    assert read_on(path, 4, 100) == (b"two\nthree\nfour\n", 19)
    assert read_on(path, 4, 8) == ("\n…\nfour\n".encode(), 19), "what was passed over is said to be"
    path.write_bytes(b"new\n")
    assert read_on(path, 19, 100) == (b"new\n", 4), "a tool has begun its log anew"


def test_hostile_logs_cost_little(tmp_path: Path) -> None:
    began = time.process_time()
    for piece in ('  File "', "Thread ", "Traceback (most recent call last):", "(most recent call ", " ", "\x1b[", "\r",
                  "/usr/lib/", " 0x7f12a4b5c6d7", '"', "(", "0"):
        LogCleaner(tmp_path).take((piece * (1 << 18))[:1 << 18].encode(), ended=True)
    assert time.process_time() - began < 20.0, "linear in the log's length; squared it is an hour"
