"""A tool's progress, read out of its log while the tool runs."""
from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.stages import phases

PHASES = [("Loading", 0.1), ("fold_constant", 0.2), (r"building \.\.\.", 0.6), (r"Quantizating.*100%", 0.9)]
Told = list[tuple[float, str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """What was reported; the log is `log.txt` in the working directory."""
    reports: Told = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(phases, "_LOOK_S", 0.01)
    monkeypatch.setattr(phases, "report", lambda percent, text: reports.append((round(percent, 6), text)))
    yield reports


def write(text: str) -> None:
    with open("log.txt", "a", encoding="utf-8") as log:
        log.write(text)


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.005)


def settle() -> None:
    time.sleep(0.1)  # ten looks


def test_each_line_that_a_phase_knows_moves_the_progress(told):
    with phases.following(PHASES):
        write("I Loading : 100%\n")
        wait(lambda: told == [(10, "I Loading : 100%")])
        write("nothing of interest\nI fold_constant ...\n")
        wait(lambda: len(told) == 2)
    assert told == [(10, "I Loading : 100%"), (20, "I fold_constant ...")]


def test_shares_are_of_the_part_that_was_asked_for(told):
    with phases.following(PHASES, first=20, last=70):
        write("I Loading\n")
        wait(lambda: told == [(25, "I Loading")])


def test_a_progress_bar_ends_its_lines_by_carriage_returns(told):
    with phases.following(PHASES):
        write("Quantizating : 10%\rQuantizating : 50%")
        settle()
        assert told == []
        write("\rQuantizating : 100%\r")
        wait(lambda: told == [(90, "Quantizating : 100%")])


def test_a_line_counts_once_it_is_whole(told):
    with phases.following(PHASES):
        write("I Load")
        settle()
        assert told == []
        write("ing\r\n")
        wait(lambda: told == [(10, "I Loading")])


def test_progress_never_goes_back(told):
    with phases.following(PHASES):
        write("building ...\n")
        wait(lambda: len(told) == 1)
        write("Loading the result\nfold_constant\nbuilding ...\n")
        settle()
    assert told == [(60, "building ...")]


def test_of_several_phases_in_a_line_the_last_counts(told):
    with phases.following(PHASES):
        write("Loading, then building ...\n")
        wait(lambda: told == [(60, "Loading, then building ...")])


def test_what_was_in_the_log_before_does_not_count(told):
    write("Loading of the tool before\n")
    with phases.following(PHASES):
        settle()
        write("fold_constant\n")
        wait(lambda: told == [(20, "fold_constant")])


def test_another_log_may_be_followed_and_need_not_be_there_yet(told):
    with phases.following(PHASES, log="tool.log"):
        settle()
        Path("tool.log").write_text("Loading\n")
        wait(lambda: told == [(10, "Loading")])


@pytest.mark.parametrize("noise", [b"\xff\xfe\x00 Loadin", b"x" * 200_000, b"\r" * 1000, b"\x1b[36mI\x1b[0m \xe4\xb8"])
def test_noise_is_passed_over(told, noise):
    with phases.following(PHASES):
        with open("log.txt", "ab") as log:
            log.write(noise)
        settle()
        with open("log.txt", "ab") as log:
            log.write(b"\nfold_constant\n")
        wait(lambda: told == [(20, "fold_constant")])


def test_of_much_output_at_once_the_end_is_read(told):
    with phases.following(PHASES):
        write("Loading\n" + "verbose line\n" * 20_000 + "building ...\n")
        wait(lambda: told == [(60, "building ...")])


def test_a_log_that_is_removed_or_cut_ends_nothing(told):
    with phases.following(PHASES):
        write("Loading\n" * 5)
        wait(lambda: len(told) == 1)
        os.truncate("log.txt", 0)
        settle()
        os.remove("log.txt")
        settle()


def test_the_blocks_failure_is_its_own_and_nothing_is_told_after_it(told):
    with pytest.raises(ValueError, match="the tool failed"), phases.following(PHASES):
        raise ValueError("the tool failed")
    write("Loading\n")
    settle()
    assert told == []
