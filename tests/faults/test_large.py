"""A large model over a line that breaks: row 25 of the matrix in docs/faults.md. `python -m tests.large` does it with
8 GiB."""
from __future__ import annotations

from pathlib import Path

from tests.faults.conftest import ProxyBefore
from tests.faults.run import Run
from tests.large import MIB, convert, peak_bytes, upload

SIZE_BYTES = 160 * MIB  # three parts of an upload
MEMORY_BYTES = 110_000_000  # of which an idle worker has more than half


def test_row_25_a_large_model_goes_on_where_the_line_was_cut_in_little_memory(
        service_run: Run, proxy_before: ProxyBefore, tmp_path: Path) -> None:
    run, (line, url) = service_run, proxy_before(service_run.settings.files_url.get_secret_value())
    data_bytes, uploaded = upload(run, tmp_path, SIZE_BYTES)
    run.start_gateway()
    worker = run.start_worker(files_url=url)
    published, passed = convert(run, tmp_path, line, data_bytes, 3, 300.0)
    assert published == uploaded
    passed.check(data_bytes, sent=2)  # once to the cache, once to the output
    assert peak_bytes(worker.process.pid) < MEMORY_BYTES
