"""What only a file system can do: links, pipes, full disks, folders of the user's own."""
from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.deps import close_all, get_files
from shared.errors import InvalidRequest, NotFound, Unavailable
from shared.files import local
from shared.files.local import LocalFiles
from shared.files.paths import PRIVATE_DIR
from shared.files.routed import RoutedFiles

MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "buckets"


@pytest.fixture
def files(root: Path) -> LocalFiles:
    return LocalFiles(root, lock_timeout_s=0.2)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    return folder


def unfinished(root: Path) -> list[Path]:
    return list((root / PRIVATE_DIR).glob("unfinished-*"))


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("link", "path"), [
    ("linked", "linked/secret"), ("bucket/folder", "bucket/folder/secret"), ("bucket/file", "bucket/file")])
def test_no_link_leads_out_of_the_root(files: LocalFiles, root: Path, source: Path, outside: Path, tmp_path: Path,
                                       link: str, path: str) -> None:
    (root / "bucket").mkdir(parents=True)
    (root / link).symlink_to(outside / "secret" if path == link else outside)
    assert files.stat(path) is None and list(files.find(path.rpartition("/")[0])) == []
    with pytest.raises(NotFound):
        files.download(path, tmp_path / "out", max_bytes=99)
    files.delete(path)
    if path == link:
        files.upload(source, path)  # takes the link's place
        assert not (root / link).is_symlink()
    else:
        with pytest.raises(InvalidRequest):
            files.upload(source, path)
    assert [(f.name, f.read_bytes()) for f in outside.iterdir()] == [("secret", b"secret")]


@pytest.mark.parametrize("path", ["..", "../outside/secret", "bucket/../../outside/secret", "bucket/..", "/etc/passwd",
                                  "", "bucket/\0", f"{PRIVATE_DIR}/lock"])
def test_a_path_that_nobody_checked_does_not_lead_out_either(files: LocalFiles, source: Path, outside: Path,
                                                             tmp_path: Path, path: str) -> None:
    for call in (lambda: files.stat(path), lambda: files.upload(source, path), lambda: files.delete(path),
                 lambda: files.download(path, tmp_path / "out", max_bytes=99), lambda: list(files.find(f"{path}/"))):
        with pytest.raises(InvalidRequest):
            call()
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_pipe_is_no_object_and_holds_nobody(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    (root / "bucket").mkdir(parents=True)
    os.mkfifo(root / "bucket" / "pipe")
    assert files.stat("bucket/pipe") is None and list(files.find("bucket")) == []
    with pytest.raises(NotFound):
        files.download("bucket/pipe", tmp_path / "out", max_bytes=99)


def test_a_name_that_is_no_text_is_not_listed(files: LocalFiles, root: Path, source: Path) -> None:
    info = files.upload(source, "bucket/a")
    (Path(os.fsdecode(os.fsencode(root / "bucket") + b"/\xff"))).write_bytes(b"x")
    assert list(files.find("bucket")) == [info]


def test_an_object_and_a_folder_cannot_have_one_name(files: LocalFiles, source: Path) -> None:
    info = files.upload(source, "bucket/a/b")
    for path in ("bucket/a", "bucket/a/b/c"):
        with pytest.raises(InvalidRequest):
            files.upload(source, path)
    assert list(files.find("bucket")) == [info]


# --- nothing is left --------------------------------------------------------------------------------------------------


def test_deleting_leaves_no_empty_folder_but_the_bucket(files: LocalFiles, root: Path, source: Path) -> None:
    files.upload(source, "bucket/a/b/c")
    kept = files.upload(source, "bucket/a/d")
    files.delete("bucket/a/b/c")
    assert list(files.find("bucket")) == [kept] and not (root / "bucket" / "a" / "b").exists()
    files.delete("bucket/a/d")
    assert list((root / "bucket").iterdir()) == [] and unfinished(root) == []


def test_what_a_dead_writer_left_is_removed_and_what_a_living_one_writes_is_not(files: LocalFiles, root: Path,
                                                                                source: Path) -> None:
    files.upload(source, "bucket/a")
    dead, alive, young = (root / PRIVATE_DIR / f"unfinished-{name}" for name in ("dead", "alive", "young"))
    for path in (dead, alive, young):
        path.write_bytes(b"x")
    for path in (dead, alive):
        os.utime(path, (time.time() - 3600,) * 2)
    with alive.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        LocalFiles(root).upload(source, "bucket/b")
    assert sorted(unfinished(root)) == sorted([alive, young])


def test_a_writer_that_froze_inside_the_lock_does_not_hold_others_for_ever(files: LocalFiles, root: Path,
                                                                           source: Path) -> None:
    files.upload(source, "bucket/a")
    with (root / PRIVATE_DIR / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Unavailable) as caught:
            files.upload(source, "bucket/b")
        assert "locked" in caught.value.detail and unfinished(root) == [] and files.stat("bucket/b") is None
    files.upload(source, "bucket/b")


# --- trouble ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None] | None]]:
    """A folder on a disk of 1 MiB; where none can be mounted, a limit on a child's files stands for it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() == 0 and not subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder],
                                                capture_output=True).returncode:
        yield folder, None
        subprocess.run(["umount", "--lazy", folder], check=True)
    else:
        yield folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))


FULL = """
import sys
from pathlib import Path
from shared.errors import Unavailable
from shared.files.local import LocalFiles
call, files, source, target = sys.argv[1], LocalFiles(Path(sys.argv[2])), Path(sys.argv[3]), Path(sys.argv[4])
try:
    if call == "upload":
        files.upload(source, "bucket/a")
    else:
        files.download("bucket/a", target, max_bytes=1 << 40)
except Unavailable as error:
    print(error.detail)
"""


@pytest.mark.parametrize("call", ["upload", "download"])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(small_disk: tuple, root: Path, tmp_path: Path,
                                                             call: str) -> None:
    disk, limit = small_disk
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3 * MIB))
    store = disk if call == "upload" else root
    if call == "download":
        LocalFiles(root).upload(source, "bucket/a")
    (tmp_path / "small").write_bytes(b"old")
    old = LocalFiles(disk).upload(tmp_path / "small", "bucket/a")
    done = subprocess.run([sys.executable, "-c", FULL, call, store, source, disk / "target"], preexec_fn=limit,
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("No space left on device", "File too large"), done.stdout
    assert LocalFiles(disk).stat("bucket/a") == old and unfinished(disk) == []
    assert sorted(f.name for f in disk.iterdir()) == sorted([PRIVATE_DIR, "bucket"])


def test_a_root_that_is_no_folder_is_unavailable(source: Path, tmp_path: Path) -> None:
    for root in (source, source / "below"):
        for call in (LocalFiles(root).ping, lambda root=root: LocalFiles(root).upload(source, "bucket/a"),
                     lambda root=root: LocalFiles(root).stat("bucket/a")):
            with pytest.raises(Unavailable) as caught:
                call()
            assert str(tmp_path) not in f"{caught.value}{caught.value.zh}"


def test_a_file_that_grows_while_it_is_read_is_not_taken(files: LocalFiles, root: Path, source: Path, tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    files.upload(source, "bucket/a")
    copy = local.copy_digested

    def copy_and_append(*arguments: Any) -> str:
        digest = copy(*arguments)
        with (root / "bucket" / "a").open("ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr(local, "copy_digested", copy_and_append)
    with pytest.raises(Unavailable) as caught:
        files.download("bucket/a", tmp_path / "out", max_bytes=99)
    assert "changed" in caught.value.detail and not (tmp_path / "out").exists()


@pytest.mark.parametrize("code", [errno.EXDEV, errno.ENOSYS, None])
def test_content_is_copied_where_the_kernel_cannot(files: LocalFiles, root: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch, code: int | None) -> None:
    content = os.urandom(3 * MIB + 7)
    (tmp_path / "large").write_bytes(content)

    def refuse(*_: object) -> int:
        if code is None:
            return 0
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    files.upload(tmp_path / "large", "bucket/a")
    assert (root / "bucket" / "a").read_bytes() == content


# --- absolute paths ---------------------------------------------------------------------------------------------------


@pytest.fixture
def routed(files: LocalFiles, tmp_path: Path) -> RoutedFiles:
    (tmp_path / "models" / "deep").mkdir(parents=True)
    return RoutedFiles(files, [tmp_path / "models", tmp_path / "models" / "deep"])


def test_absolute_paths_go_to_the_file_system_and_others_to_the_store(routed: RoutedFiles, files: LocalFiles,
                                                                      source: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    info = routed.upload(source, f"{models}/new/a.onnx")
    assert info.path == f"{models}/new/a.onnx" and (models / "new" / "a.onnx").read_bytes() == b"content"
    assert routed.stat(info.path) == info == routed.download(info.path, tmp_path / "out", max_bytes=99)
    stored = routed.upload(source, "bucket/a.onnx")
    assert files.stat("bucket/a.onnx") == stored == routed.stat("bucket/a.onnx")
    deep = routed.upload(source, f"{models}/deep/b.onnx")
    assert list(routed.find(f"{models}/de")) == list(routed.find(f"{models}/deep/")) == [deep]
    assert list(routed.find(str(models))) == [deep, info] and list(routed.find("bucket")) == [stored]
    routed.ping()
    routed.delete(deep.path)
    routed.delete(info.path)
    assert sorted(f.name for f in models.iterdir()) == [PRIVATE_DIR, "deep", "new"]  # folders are the user's
    routed.close()


def test_absolute_paths_outside_of_the_roots_are_refused(routed: RoutedFiles, source: Path, outside: Path,
                                                         tmp_path: Path) -> None:
    (tmp_path / "models" / "link").symlink_to(outside)
    for path in (f"{outside}/secret", f"{tmp_path}/models/../outside/secret", f"{tmp_path}/models2/x",
                 f"{tmp_path}/models"):
        for call in (lambda p=path: routed.stat(p), lambda p=path: routed.upload(source, p)):
            with pytest.raises(InvalidRequest):
                call()
    assert routed.stat(f"{tmp_path}/models/link/secret") is None
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_settings_decide_about_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    monkeypatch.setenv("MODEL_CONVERT_FILES_URL", f"file:{tmp_path}/buckets")
    try:
        for roots, expected in (("", InvalidRequest), (str(tmp_path), None)):
            monkeypatch.setenv("MODEL_CONVERT_LOCAL_ROOTS", roots)
            close_all()
            if expected is None:
                assert get_files().stat(f"{tmp_path}/a.onnx").size_bytes == 1
            else:
                with pytest.raises(expected):
                    get_files().stat(f"{tmp_path}/a.onnx")
    finally:
        close_all()
