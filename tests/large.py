"""A model with very large external data through a worker: `python -m tests.large --gib 8 [--files minio] [--cuts 3]`.

The data is sparse. A toy target copies it, so that artefact and model are equal. The worker reaches MinIO by a line
that breaks in the middle of its downloads and of its uploads, so many times each. Told are the worker's peak of memory
(VmHWM: all that was resident at once, mapped files among it) and the bytes on the line. Exits with 1 if the memory is
beyond --memory-mb, if the content is another one, or if more than a piece went over the line again for each cut.

MinIO keeps no holes: it takes three times the data's size of disk, below TMPDIR.
"""
from __future__ import annotations

import argparse
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto, helper

from infra.servers import minio
from shared.files.minio_upload import PART_BYTES
from shared.files.transfer import CHUNK_BYTES
from tests.faults.proxy import Proxy
from tests.faults.run import Run

MIB = 1 << 20
DATA = "weights.bin"
MODEL = "models/large/model.onnx"
TENSOR_BYTES = 1 << 30
HEAD_BYTES = 2 * MIB  # of all requests and all answers beside the large content
FILLED_BYTES = MIB  # at the begin of each stretch of the data, so that a lost or doubled one is seen


@dataclass(frozen=True)
class Passed:
    """Over the line to the object store; `again` is what may have gone twice: a piece for each cut."""

    down_bytes: int
    up_bytes: int
    cuts: int

    def check(self, size_bytes: int, sent: int) -> None:
        """The data was to come once and to go `sent` times."""
        assert self.down_bytes < size_bytes + self.cuts * CHUNK_BYTES + HEAD_BYTES, "downloaded twice"
        assert self.up_bytes < sent * size_bytes + self.cuts * PART_BYTES + HEAD_BYTES, "uploaded twice"


def make_data(path: Path, size_bytes: int, stretches: int = 8) -> None:
    """Holes with something at the begin of each stretch."""
    with path.open("wb") as file:
        for number in range(stretches):
            file.seek(number * (size_bytes // stretches))
            file.write(secrets.token_bytes(FILLED_BYTES))
        file.truncate(size_bytes)


def make_model(data_bytes: int) -> bytes:
    """A model whose weights are the data."""
    weights = []
    for number, start in enumerate(range(0, data_bytes, TENSOR_BYTES)):
        size_bytes = min(TENSOR_BYTES, data_bytes - start)
        tensor = TensorProto(name=f"w{number}", data_type=TensorProto.UINT8, dims=[size_bytes],
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", DATA), ("offset", start), ("length", size_bytes)):
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "large", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def upload(run: Run, folder: Path, size_bytes: int) -> tuple[int, str]:
    """Put a model there that has `size_bytes` in all; the size and the digest of its data."""
    model = make_model(size_bytes)
    data_bytes = size_bytes - len(model) - 64  # the model may become a little longer by other numbers
    data = folder / DATA
    make_data(data, data_bytes)
    run.upload(MODEL, make_model(data_bytes))
    folder_path = MODEL.rpartition("/")[0]
    run.files.upload(data, f"{folder_path}/{DATA}")
    data.unlink()
    info = run.files.download(f"{folder_path}/{DATA}", folder / "back", max_bytes=size_bytes)
    (folder / "back").unlink()
    return data_bytes, str(info.sha256)


def convert(run: Run, folder: Path, line: Proxy | None, size_bytes: int, cuts: int, timeout_s: float,
            ) -> tuple[str, Passed]:
    """Convert the large model; the digest of the artefact's data as it was published, and what passed."""
    if line is not None:
        line.answers.cut_after(size_bytes // (cuts + 1), cuts)
        line.requests.cut_after(size_bytes // (cuts + 1), cuts)
    before = (line.answers.passed, line.requests.passed) if line else (0, 0)
    task_id = run.create({"input_path": MODEL}, prepare={"data": DATA}, compile={"data": DATA})
    [done] = run.wait_for(task_id, timeout_s=timeout_s)
    after = (line.answers.passed, line.requests.passed) if line else (0, 0)
    if line is not None:
        assert (line.answers.cuts_left, line.requests.cuts_left) == (0, 0), "the line was not cut so often"
    [path] = [path for path in done.result.files if path.endswith(".bin")]
    info = run.files.download(path, folder / "published", max_bytes=size_bytes)
    (folder / "published").unlink()
    return str(info.sha256), Passed(after[0] - before[0], after[1] - before[1], cuts)


def peak_bytes(pid: int) -> int:
    """The most that was resident of the process at once."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) << 10


@contextmanager
def opened(folder: Path, files: str) -> Iterator[tuple[Run, Proxy | None, str]]:
    """A run, the line to its object store, and the URL that leads through the line."""
    with ExitStack() as stack:
        if files == "local":
            run = Run(folder / "run", {})
            stack.callback(run.stop)
            yield run, None, run.settings.files_url.get_secret_value()
            return
        server = minio.start(folder)
        stack.callback(server.kill)
        line, url = Proxy.before(server.url)
        stack.callback(line.close)
        run = Run(folder / "run", {"files_url": server.url})
        stack.callback(run.stop)
        yield run, line, url


def main() -> int:
    cli = argparse.ArgumentParser(description="a very large model through a worker")
    cli.add_argument("--gib", type=float, default=8.0, help="the model's size")
    cli.add_argument("--files", choices=["minio", "local"], default="minio")
    cli.add_argument("--cuts", type=int, default=3, help="how often the line breaks, each way")
    cli.add_argument("--memory-mb", type=int, default=200)
    args = cli.parse_args()
    size_bytes, started = int(args.gib * (1 << 30)), time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="large-") as name, opened(Path(name), args.files) as (run, line, url):
        data_bytes, uploaded = upload(run, Path(name), size_bytes)
        say(f"uploaded: a model of {size_bytes >> 20} MiB")
        run.start_gateway()
        worker = run.start_worker(files_url=url)
        idle = peak_bytes(worker.process.pid)
        published, passed = convert(run, Path(name), line, data_bytes, args.cuts, 7200.0)
        peak = peak_bytes(worker.process.pid)
        say(f"converted: the worker's peak {peak / 1e6:.0f} MB, {idle / 1e6:.0f} MB before the task")
        for stage in run.task(run.task_ids[0]).stages:
            say(f"  {stage.name}: {stage.seconds:.1f} s")
        if line is not None:
            say(f"on the line: {passed.down_bytes / data_bytes:.4f} times the data down, "
                f"{passed.up_bytes / data_bytes:.4f} times up, cut {args.cuts} times each way")
            passed.check(data_bytes, sent=2)
        assert published == uploaded, "the artefact is not what was uploaded"
        say("the artefact is what was uploaded")
    return 0 if peak <= args.memory_mb * 1_000_000 else 1


if __name__ == "__main__":
    sys.exit(main())
