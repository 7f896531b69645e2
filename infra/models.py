"""The real models of demo, tests and bench, as wheels on PyPI carry them: PP-OCR, silero-vad and magika.

`python -m infra.models [DIR]` fetches all of them and prints where they lie.
"""
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from shared.settings import cache_home

LOCK = Path(__file__).with_suffix(".lock")  # a paragraph for each wheel
# Wheel -> name here -> member of the wheel, and what it is.
WHEELS = {
    "rapidocr-onnxruntime": {
        "det": "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",  # text: x [N, 3, H, W], multiples of 32
        "rec": "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",  # text recogniser: x [N, 3, 48, W]
        "cls": "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",  # text angle: x [N, 3, 48, 192]
    },
    "silero-vad": {
        # Speech: input [N, samples], state [2, N, 128], and sr, a scalar on which an If chooses a whole network.
        "vad": "silero_vad/data/silero_vad.onnx",
    },
    "magika": {
        "magika": "magika/models/standard_v3_3/model.onnx",  # a file's type: bytes [N, 2048] int32
    },
}
PP_OCR = tuple(WHEELS["rapidocr-onnxruntime"])


def default_models_dir() -> Path:
    return cache_home() / "models"


def fetch_models(names: Iterable[str] = PP_OCR, folder: Path | None = None) -> dict[str, Path]:
    """`{name: path}`; downloads each wheel once, its hash checked. Safe to run several times at once.

    Raises:
        subprocess.CalledProcessError: a wheel cannot be had, or its hash is not the pinned one.
    """
    folder = folder or default_models_dir()
    folder.mkdir(parents=True, exist_ok=True)
    wanted, found = set(names), dict[str, Path]()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for wheel, members in WHEELS.items():
            paths = {name: folder / f"{wheel}-{name}.onnx" for name in members}
            if wanted & paths.keys() and not all(path.exists() for path in paths.values()):
                _download(wheel, {member: paths[name] for name, member in members.items()})
            found |= {name: path for name, path in paths.items() if name in wanted}
    return found


def _download(wheel: str, targets: dict[str, Path]) -> None:
    """Extract the wheel's members, `{member: path}`."""
    folder = next(iter(targets.values())).parent
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        pinned = Path(scratch) / "wheel.lock"
        pinned.write_text(next(part for part in LOCK.read_text().split("\n\n") if part.startswith(f"{wheel}==")))
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--only-binary", ":all:", "--require-hashes", "--dest", scratch, "--requirement", pinned],
                       check=True)
        (path,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            for member, target in targets.items():
                os.replace(archive.extract(member, scratch), target)


if __name__ == "__main__":
    everything = [name for members in WHEELS.values() for name in members]
    for name, path in fetch_models(everything, Path(sys.argv[1]) if len(sys.argv) > 1 else None).items():
        print(f"{name}\t{path}")
