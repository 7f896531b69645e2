"""What a request may name as a path, and what it may not."""
from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.errors import InvalidRequest
from shared.files.paths import check_path, name_of, split_name
from shared.settings import Settings

ANYTHING = Settings()


def refusal(text: str, settings: Settings = ANYTHING) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check_path(text, "input_path", settings)
    return caught.value


@pytest.mark.parametrize("text", [
    "models/detector.onnx", "models/a/b/c.onnx", "my.bucket-1/x", "models/中文 模型.onnx", "models/a+b.onnx",
    "models/100%.onnx", "models/100%25.onnx", "models/a%20b.onnx", "models/...", "models/..a/b..", "models/.hidden",
    "models/ ", "abc/" + "é" * 127, "models/it's (1) & <2>?#x",
])
def test_a_bucket_and_key_are_taken_as_they_are(text: str) -> None:
    assert check_path(text, "input_path", ANYTHING) == text


@pytest.mark.parametrize("text", [
    "", ".", "..", "models", "models/", "models//x", "models/x/", "models/./x", "models/../x", "models/x/..", "../x",
    "models/a\0b", "models/a\nb", "models/a\x7fb", "models/a\x85b", "models/a\u2028b", "models\\x", "models/a\\..\\b",
    "models/%2e%2e/x", "models/%2E./x", "models/%2e", "models/..%2fx", "models/a%2fb", "models/a%5cb", "models/a%00b",
    "models/%252e%252e/x", "models/%25252fx", "models/%c0%ae%c0%ae/x", "models/a%0ab", "%2fetc/passwd",
    "models/\ud800", "models/" + "x" * 256, "models/" + "é" * 128, "models/" + "/".join(["x" * 200] * 6),
    "s3://models/x", "minio://models/x", "~/x",
])
def test_what_could_lead_elsewhere_is_refused(text: str) -> None:
    error = refusal(text)
    assert error.status == 400
    assert "input_path" in error.en and "bucket/object" in error.en
    assert "input_path" in error.zh and "bucket/object" in error.zh


@pytest.mark.parametrize("bucket", [
    "ab", "a" * 64, "Models", "mod_els", "-models", "models-", ".models", "models.", "mo..dels", "mo.-dels", "mo-.dels",
    "192.168.0.1", "xn--models", "models-s3alias", "minio", "模型模型", "mod els", "%6dodels", ".model-convert",
])
def test_names_that_are_no_buckets_are_refused(bucket: str) -> None:
    assert "bucket" in refusal(f"{bucket}/x").en


def test_buckets_that_are_not_listed_are_refused() -> None:
    settings = Settings(buckets=("models", "results"))
    assert check_path("results/x", "output_path", settings) == "results/x"
    assert "not allowed" in refusal("other/x", settings).en


@pytest.mark.parametrize("buckets", [("*",), ("model-convert-cache",), ("*", "model-convert-cache")])
def test_the_cache_cannot_be_named_even_where_it_is_listed(buckets: tuple[str, ...]) -> None:
    assert "not allowed" in refusal("model-convert-cache/x", Settings(buckets=buckets)).en


def test_absolute_paths_need_a_root() -> None:
    assert "absolute" in refusal("/models/x.onnx").en


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "models").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "root"


def rooted(root: Path, **more: object) -> Settings:
    return Settings(local_roots=(root,), **more)


def test_an_absolute_path_below_a_root_is_taken_with_its_links_resolved(root: Path) -> None:
    (root / "link").symlink_to(root / "models")
    settings = rooted(root)
    assert check_path(f"{root}/models/x.onnx", "input_path", settings) == f"{root}/models/x.onnx"
    assert check_path(f"{root}/link/x.onnx", "input_path", settings) == f"{root}/models/x.onnx"
    (root.parent / "alias").symlink_to(root)
    assert check_path(f"{root.parent}/alias/x", "input_path", settings) == f"{root}/x"
    assert check_path(f"{root}/x", "input_path", rooted(root.parent / "alias")) == f"{root}/x"


@pytest.mark.parametrize("below", [
    "", "/", "/../outside/x", "/models/../../outside/x", "/out/x", "/out", "x/y", "//models/x", "/models/x/", "/.",
    "/models/%2e%2e/x", "/models/a\0b", "/.model-convert/lock",
])
def test_an_absolute_path_that_leaves_its_root_is_refused(root: Path, below: str) -> None:
    (root / "out").symlink_to(root.parent / "outside")
    error = refusal(f"{root}{below}", rooted(root))
    assert str(root) not in error.en and str(root) not in error.zh


def test_the_object_store_cannot_be_reached_by_its_absolute_path(root: Path) -> None:
    settings = rooted(root, files_url=SecretStr(f"file:{root}/buckets"))
    assert check_path(f"{root}/models/x", "input_path", settings)
    for below in ("buckets/model-convert-cache/x", "buckets/models/x", "buckets"):
        refusal(f"{root}/{below}", settings)


@given(st.text(max_size=60))
def test_whatever_is_taken_has_only_plain_parts(text: str) -> None:
    try:
        taken = check_path(text, "input_path", ANYTHING)
    except InvalidRequest:
        return
    assert taken == text and not taken.startswith("/")
    assert all(part not in ("", ".", "..") for part in taken.split("/")) and not set("\\\0\n\r") & set(taken)


@given(st.lists(st.sampled_from(["a", "..", ".", "", "/", "\\", "\0", "b"]), min_size=1, max_size=6), st.integers(0, 3))
def test_encoding_hides_nothing(parts: list[str], times: int) -> None:
    plain = "models/" + "/".join(parts)
    hidden = plain.replace(".", "%2e")
    for _ in range(times):
        hidden = quote(hidden, safe="/")
    if any(part in ("", ".", "..", "/", "\\", "\0") for part in parts):
        refusal(hidden)


@given(st.lists(st.text(alphabet="ab.模 -", min_size=1, max_size=5).filter(lambda part: part not in (".", "..")),
                min_size=1, max_size=4).map("/".join), st.sampled_from(["", "/"]))
def test_names_and_suffixes_are_those_of_pathlib(text: str, root: str) -> None:
    path = PurePosixPath(root + text)
    assert name_of(root + text) == path.name
    assert split_name(root + text) == (path.stem, path.suffix)
