"""Whatever number of tasks is converted and deleted, no more is left than after the first of them."""
from __future__ import annotations

from pathlib import Path

from tests.growth import Left, Toys, look, measure, running

BUDGET_BYTES = 150_000  # some seven toys' results


def test_after_two_batches_no_more_is_left_than_after_one(tmp_path: Path) -> None:
    with running(Toys, tmp_path, 1, cache_bucket_bytes=BUDGET_BYTES, cache_bytes=BUDGET_BYTES, gc_every_s=1.0) as toys:
        before = look(toys)
        first, last = measure(toys, [16, 32], print, 10.0)
    for left in (first, last):
        assert left.sizes["buckets"] - before.sizes["buckets"] < 1.5 * BUDGET_BYTES, describe(before, first, last)
        assert left.sizes["cache"] < 1.5 * BUDGET_BYTES, describe(before, first, last)
    for place in ("buckets", "cache"):  # of files, but for notices
        assert last.files[place] < 1.5 * first.files[place] + 20, describe(before, first, last)
    assert last.files["work"] == first.files["work"] and last.sizes["work"] == 0


def describe(*looks: Left) -> str:
    return "\n".join(left.line() for left in looks)
