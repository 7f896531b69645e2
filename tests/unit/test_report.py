"""The report of a conversion: one schema, and a page that reads well and runs nothing."""
from __future__ import annotations

import html
import html.parser
import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from tests.functions.test_docs_pages import render as show
from worker.report import Report, render
from worker.slice_picture import draw

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>\'{{ 7 * 7 }}</pre></style>&amp;'
VOID = {"meta", "br", "img", "hr", "input", "link"}
OPERATORS = {"Conv": 62, "Relu": 30, "Add": 12, "HardSigmoid": 5, "Mul": 5, "GlobalAveragePool": 4, "Resize": 3}
FIGURES = {"cosine": 0.99912345, "worst_sample_cosine": 0.98, "max_abs_error": 0.0123, "max_rel_error": 0.00456,
           "not_finite_mismatch": 0}
SLICES = {"axis": 1, "shape": [1, 5, 2100], "values": 6300, "probabilities": False, "largest": [640, 300, 9, 0.9, 0.5],
          "spread": [90.0, 80.0, 2.0, 0.2, 0.02], "artefact_spread": [90.1, 79.0, 3.0, 0.0, 0.0],
          "error": [0.01, 0.02, 1.5, 1.1, 1.2], "small": [3, 4], "faint": [], "dead": [3, 4], "wrong": [2]}


def report(**changes: Any) -> Report:
    """A report as a target that tells everything would have it."""
    whole = {
        "task_id": "task_1_2", "task_type": "onnx_to_x", "platform": "x", "title": "X NPU", "created_at":
        "2026-01-02T03:04:05", "parameters": {"precision": "int8", "labels": "检测", "input_shape": [1, 3, 480, 480]},
        "model": {"path": "models/检测.onnx", "size_bytes": 4_745_517, "opsets": {"": 12, "com.microsoft": 1},
                  "producer": "PaddlePaddle", "inputs": [{"name": "x", "dtype": "float", "shape": ["N", 3, None, 480]}],
                  "outputs": [{"name": "any", "dtype": "float", "shape": None}], "operators": OPERATORS, "nodes": 121,
                  "nodes_after": 115},
        "artefact": [{"path": "results/t/检测.xml", "sha256": "ab" * 32, "size_bytes": 1_234},
                     {"path": "results/t/检测.bin", "sha256": "cd" * 32, "size_bytes": 5 << 30}],
        "precision": "int8", "inputs": [{"name": "x", "dtype": "u8", "shape": [1, 3, 480, 480]}],
        "outputs": [{"name": "y", "dtype": "f32", "shape": [1, 1, 480, 480]}, {"name": "s", "dtype": "f32",
                                                                               "shape": []}],
        "placement": {"npu": OPERATORS, "cpu": {"Resize": 2}}, "on_cpu": [{"name": "/neck/Resize_1", "type": "Resize"}],
        "unsupported": ["Det"], "memory": {"weights": 2 << 20, "internal": 900_000},
        "accuracy": {"skipped": False, "samples": 6, "min_cosine": 0.98, "passed": True, "accepted": False,
                     "outputs": [{"name": "y", **FIGURES, "slices": SLICES},
                                 {"name": "ids", **FIGURES, "agreement": 0.98765, "values": 100}],
                     "bounds": {"cosine": 0.98, "agreement": 0.9, "small_slice_error": 0.7, "slice_error": 1.0},
                     "failures": ["y: 3-4 are dead"], "seeded_outputs": [{"name": "y", **FIGURES}], "warnings": []},
        "attempts": [
            {"name": "int8", "precision": "int8", "parameters": {}, "status": "failed", "code": "accuracy_too_low",
             "stage": "verify-int8", "seconds": 7.25, "size_bytes": 3 << 20, "message": "the scores are dead",
             "accuracy": {"output": "y", "cosine": 0.871234, "min_cosine": 0.95}},
            {"name": "int8-kl", "precision": "int8", "parameters": {}, "status": "skipped", "message": "no time"},
            {"name": "fp16", "precision": "fp16", "parameters": {}, "status": "passed", "chosen": True}],
        "details": {"layers": [1, 2]}, "timings": [
            {"stage": "fetch", "seconds": 0.01, "cached": True, "peak_memory_bytes": 0},
            {"stage": "compile", "seconds": 12.5, "cached": False, "peak_memory_bytes": 900 << 20}],
        "warnings": ["compile: it may be slow"], "toolchain": {"tool": "2.5.0"},
        "commands": ["tool --model=model.onnx --output='a b'"]}
    return Report.model_validate(whole | changes)


class Page(html.parser.HTMLParser):
    """Which elements and attributes a page has, its text, and that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


@pytest.mark.parametrize("told", [
    "models/检测.onnx → X NPU", "results/t/检测.bin", "5.0 GiB", "4.5 MiB", "900.0 MiB", "cd" * 32,
    "0.999123", "0.0123", "passed", "98.765 %", "cosine at least 0.98, whole numbers of which 0.9 agree",
    "y: 5 slices along axis 1 of [1, 5, 2100]; dead: 3-4; wrong: 2", "y: 3-4 are dead",
    "3: dead; varies by 0.2, in the artefact by 0; error 1.1",
    "On seeded inputs, which the calibration did not see", "[N, 3, ?, 480]", "any",
    "[1, 3, 480, 480]", "npu: 121 operators", "cpu: 2 operators", "/neck/Resize_1", "Det", "it may be slow",
    "from the cache", "12.50", "12.5 s", "ai.onnx", "com.microsoft", "simplified to", '"labels": "检测"', '"layers": [',
    "tool --model=model.onnx --output='a b'", "weights", "2.0 MiB", "PaddlePaddle", "What precision auto has tried",
    "int8 failed verify-int8: the scores are dead 0.871234 0.95 3.0 MiB 7.2", "int8-kl skipped no time",
    "fp16 passed, chosen"])
def test_the_page_tells_what_the_report_knows(told):
    assert told in re.sub(r"[ \n\u00a0]+", " ", Page(render(report())).text)


def test_operators_come_with_their_counts_the_most_frequent_first():
    text = re.sub(r"[\s\u00a0]+", " ", Page(render(report())).text)
    assert re.search(r"Conv 62 Relu 30 Add 12 HardSigmoid 5", text)


def test_the_picture_shows_each_slice_and_what_has_died():
    columns = draw(SLICES).columns
    assert [column.state for column in columns] == ["alive", "alive", "wrong", "dead", "dead"]
    assert [column.artefact for column in columns][3:] == [0, 0]
    heights = [column.model for column in columns]
    assert heights == sorted(heights, reverse=True) and 0 < heights[-1] < heights[0] / 1.5 < draw(SLICES).height
    text = render(report())
    assert text.count('<g class="dead">') == 2 and text.count('<g class="wrong">') == 1


def test_of_many_slices_the_picture_says_how_many_it_shows():
    told = draw(SLICES | {"shape": [1, 600, 9], "indices": [5, 77, 90, 100, 599], "dead": [100, 599], "wrong": [90]})
    assert told.told == "5 of 600 slices along axis 1 of [1, 600, 9]; dead: 100, 599; wrong: 90"
    assert [column.label for column in told.columns] == ["5", "77", "90", "100", "599"]
    many = draw(SLICES | {name: SLICES[name] * 50 for name in ("spread", "artefact_spread", "error")} | {
        "shape": [1, 250, 9]})
    assert many.width < 950 and [column.label for column in many.columns if column.label][:3] == ["0", "10", "20"]


def test_a_report_of_before_has_no_slices_and_is_shown():
    accuracy = {"skipped": False, "samples": 6, "min_cosine": 0.98, "passed": True, "accepted": False, "outputs": [
        {"name": "y", **FIGURES}]}
    text = Page(render(report(accuracy=accuracy))).text
    assert "0.999123" in text and "slices" not in text and "agree" not in text


def test_a_target_that_tells_nothing_has_a_page_without_empty_parts():
    bare = report(attempts=None, precision=None, inputs=[], outputs=[], placement=None, on_cpu=[], unsupported=[],
                  memory={}, accuracy=None, details={}, warnings=[], commands=[], toolchain={})
    text = Page(render(bare)).text
    assert "no way to run its artefact here" in text and "not compared" in text
    for absent in ("What precision auto", "Warnings", "Placement", "Memory", "Details", "Commands",
                   "Inputs and outputs of the artefact", "None", "Undefined"):
        assert absent not in text, absent


@pytest.mark.parametrize(("accuracy", "says"), [
    ({"skipped": True}, "Not compared."), ({"skipped": True, "reason": "no device"}, "Not compared: no device."),
    ({**report().accuracy, "passed": False, "accepted": True}, "failed, accepted by the client")])
def test_what_came_of_the_accuracy_check_is_told(accuracy, says):
    assert says in re.sub(r"\s+", " ", Page(render(report(accuracy=accuracy))).text)


def everywhere(value: Any, text: str) -> Any:
    """The same with `text` for every string and every key that a client or a tool chooses."""
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [everywhere(item, text) for item in value]
    if isinstance(value, dict):
        return {key: everywhere(item, text) for key, item in value.items()}
    return value


def test_hostile_names_are_text_wherever_they_stand():
    harmless = Page(render(report()))
    changed = everywhere(report().model_dump(), HOSTILE) | {
        "placement": {HOSTILE: {HOSTILE: 3}}, "memory": {HOSTILE: 5}, "toolchain": {HOSTILE: HOSTILE},
        "parameters": {HOSTILE: HOSTILE}, "details": {HOSTILE: [HOSTILE]}}
    changed["model"] |= {"operators": {HOSTILE: 2}, "opsets": {HOSTILE: 1}}
    text = render(Report.model_validate(changed))
    page = Page(text)
    assert page.tags == harmless.tags and page.attributes == harmless.attributes
    assert not page.tags & {"script", "img", "iframe", "link", "object"} and page.text.count(HOSTILE) > 25
    assert "{{ 7 * 7 }}" in page.text and "49" not in page.text


def test_the_page_needs_nothing_else_and_forbids_it():
    text = render(report())
    assert "default-src 'none'" in text and "://" not in text and "@import" not in text and "url(" not in text


def test_a_browser_shows_the_page_and_runs_nothing_of_it(tmp_path):
    attack = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
    page = tmp_path / "report.html"
    page.write_text(render(report(warnings=[attack], details={attack: attack})), encoding="utf-8")
    dom, _ = show(page.as_uri(), tmp_path)
    assert "<title>results/t/检测.xml: conversion report</title>" in dom and "<script" not in dom and "<img" not in dom
    assert html.escape(attack, quote=False) in dom


def test_the_schema_refuses_what_no_target_may_tell():
    for changes in ({"more": 1}, {"memory": {"a": "much"}}, {"on_cpu": [{"name": "x"}]}, {"placement": {"npu": 3}},
                    {"inputs": [{"name": "x", "dtype": "f32", "shape": "1,3"}]}):
        with pytest.raises(ValidationError):
            report(**changes)


def test_the_schema_is_the_same_as_json():
    assert Report.model_validate_json(report().model_dump_json()) == report()
    described = json.dumps(Report.model_json_schema())
    assert "operators that the NPU does not run" in described
