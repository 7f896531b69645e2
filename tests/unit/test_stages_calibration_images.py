"""Images in a calibration set: whatever their kind, they come out as raw values 0 to 255 in the input's layout."""
from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.calibration import PICTURE, Calibrated, npy, picture
from worker.stage_api import StageError
from worker.stages import calibration_files

LAST = PICTURE | {"shape": [1, 5, 6, 3]}
GREY = PICTURE | {"shape": [1, 1, 4, 6]}
RED, BLUE = (200, 0, 0), (0, 0, 100)


@pytest.fixture(autouse=True)
def stage_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def left_red_right_blue(mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> Image.Image:
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def loaded(folder: Path, data: bytes, name: str = "a.png", item: dict = PICTURE, order: str | None = "rgb"):
    (array,) = Calibrated(folder / "set", {name: data}, inputs=[item], channel_order=order,
                          accept_accuracy=True).arrays(0)  # some are of one colour
    assert array.shape == tuple(item["shape"])
    return array


def refusal(folder: Path, data: bytes, name: str = "a.png", item: dict = PICTURE) -> str:
    with pytest.raises(StageError) as caught:
        Calibrated(folder / "set", {name: data}, inputs=[item])
    assert caught.value.code == "calibration_invalid" and name in caught.value.message
    assert str(folder) not in caught.value.message
    return caught.value.message


def test_values_are_raw_and_channels_are_where_the_input_has_them(tmp_path):
    data = encoded(left_red_right_blue())
    first, last = loaded(tmp_path / "1", data), loaded(tmp_path / "2", data, item=LAST)
    assert first.dtype == np.float32
    assert first[0, :, 0, 0].tolist() == [200, 0, 0] and first[0, :, 3, 5].tolist() == [0, 0, 100]
    assert np.array_equal(first.transpose(0, 2, 3, 1), last[:, :4])


@pytest.mark.parametrize(("order", "pixel"), [("rgb", [200, 0, 0]), ("bgr", [0, 0, 200]), (None, [200, 0, 0])])
def test_channels_come_in_the_order_that_was_asked_for(tmp_path, order, pixel):
    assert loaded(tmp_path, encoded(left_red_right_blue()), order=order)[0, :, 0, 0].tolist() == pixel


@pytest.mark.parametrize(("item", "dtype"), [(PICTURE | {"dtype": "uint8"}, np.uint8),
                                             (PICTURE | {"dtype": "float16"}, np.float16),
                                             (PICTURE | {"dtype": "double"}, np.float64)])
def test_the_type_is_the_inputs(tmp_path, item, dtype):
    array = loaded(tmp_path, encoded(left_red_right_blue()), item=item)
    assert array.dtype == dtype and array.max() == 200


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("RGB", "BMP"), ("RGB", "WEBP"), ("P", "PNG"),
                                            ("RGBA", "PNG"), ("CMYK", "JPEG"), ("RGBA", "WEBP"), ("P", "BMP"),
                                            ("RGB", "MPO")])
def test_each_kind_of_image_gives_the_same_picture(tmp_path, mode, kind):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "MPO": {"quality": 100, "subsampling": 0},
               "WEBP": {"lossless": True}}
    data = encoded(left_red_right_blue(mode, (48, 32)), kind, **options.get(kind, {}))
    array = loaded(tmp_path, data, "a.JPeG" if kind in ("JPEG", "MPO") else f"a.{kind.lower()}")
    assert np.abs(array[0, :, 1, 0] - RED).max() <= 4 and np.abs(array[0, :, 1, 5] - BLUE).max() <= 4


def test_grey_goes_into_one_channel_and_into_three(tmp_path):
    data = encoded(Image.new("L", (9, 9), 77))
    assert np.unique(loaded(tmp_path / "1", data, item=GREY)).tolist() == [77]
    assert np.unique(loaded(tmp_path / "2", data)).tolist() == [77]
    assert loaded(tmp_path / "3", encoded(Image.new("RGB", (9, 9), RED)), item=GREY)[0, 0, 0, 0] == round(200 * 0.299)


def test_sixteen_bits_become_eight_instead_of_white(tmp_path):
    data = encoded(Image.fromarray(np.full((8, 8), 0x4000, np.uint16)))
    assert np.unique(loaded(tmp_path / "1", data, item=GREY)).tolist() == [64]
    assert np.unique(loaded(tmp_path / "2", data)).tolist() == [64]


def test_one_bit_is_black_and_white(tmp_path):
    image = Image.new("1", (6, 4))
    image.putpixel((0, 0), 1)
    array = loaded(tmp_path, encoded(image), item=GREY)
    assert array[0, 0, 0, 0] == 255 and array.sum() == 255


def test_four_channels_keep_what_is_transparent(tmp_path):
    array = loaded(tmp_path, encoded(Image.new("RGBA", (6, 4), (*RED, 50))), item=PICTURE | {"shape": [1, 4, 4, 6]},
                   order="bgr")
    assert array[0, :, 0, 0].tolist() == [0, 0, 200, 50]


def test_a_photograph_is_turned_as_its_exif_data_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen, it is turned by 90 degrees clockwise
    data = encoded(left_red_right_blue(size=(64, 64)), "JPEG", quality=100, subsampling=0, exif=exif)
    array = loaded(tmp_path, data, "a.jpg")
    assert array[0, 0, 0].min() > 190 and array[0, 2, 3].min() > 90  # red above, blue below


def test_another_size_is_resized_without_keeping_the_ratio(tmp_path):
    array = loaded(tmp_path, encoded(left_red_right_blue(size=(600, 20))))
    assert array[0, 0, :, :2].min() > 190 and array[0, 2, :, 4:].min() > 90


def test_an_animation_gives_its_first_picture(tmp_path):
    data = encoded(Image.new("RGB", (6, 4), RED), "WEBP", save_all=True, lossless=True,
                   append_images=[Image.new("RGB", (6, 4), BLUE)])
    assert loaded(tmp_path, data, "a.webp")[0, :, 0, 0].tolist() == list(RED)


@pytest.mark.parametrize("shape", [[1, 2, 4, 6], [1, 10], [1, 5, 6, 7], [2, 3, 4, 6], [3, 4, 6], []])
def test_an_input_that_is_no_image_takes_none(tmp_path, shape):
    assert "takes no image" in refusal(tmp_path, encoded(left_red_right_blue()), item=PICTURE | {"shape": shape})


@pytest.mark.parametrize("dtype", ["int8", "int64", "bool"])
def test_an_input_of_another_type_takes_none(tmp_path, dtype):
    assert "takes no image" in refusal(tmp_path, encoded(left_red_right_blue()), item=PICTURE | {"dtype": dtype})


def ghostscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(executed) (w) file\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("data", [
    b"", b"not an image", encoded(Image.effect_noise((64, 64), 50))[:60],
    encoded(Image.effect_noise((64, 64), 50))[:2000],
    encoded(left_red_right_blue(size=(64, 64)), "JPEG")[:300], npy(picture()), ghostscript(),
    encoded(left_red_right_blue(), "TIFF"), encoded(left_red_right_blue(), "GIF")], ids=range(9))
def test_what_is_no_image_of_these_kinds_is_refused_whatever_its_name_says(tmp_path, data):
    assert "cannot be read as an image" in refusal(tmp_path, data)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bare_png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


@pytest.mark.parametrize("size", [(12_000, 12_000), (65_000, 65_000), (2_000_000_000, 2), (0, 5)])
def test_an_absurd_size_is_refused_before_anything_is_read(tmp_path, size):
    data = bare_png(*size, chunk(b"IDAT", zlib.compress(b"\0" * (1 << 20))), chunk(b"IEND", b""))
    refusal(tmp_path, data)


def test_an_image_of_many_times_its_files_size_is_refused_before_it_is_decoded(tmp_path):
    blank = Image.new("RGB", (9000, 9000), RED)
    assert "more than 1000 times" in refusal(tmp_path / "webp", encoded(blank, "WEBP", lossless=True), "a.webp")
    assert np.abs(loaded(tmp_path / "jpeg", encoded(blank, "JPEG"), "a.jpg")[0, 0] - RED[0]).max() <= 2


def test_a_text_that_unpacks_to_much_is_refused(tmp_path):
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (64 << 20), 9))
    refusal(tmp_path, bare_png(6, 4, bomb, chunk(b"IDAT", zlib.compress(b"\0" * 28)), chunk(b"IEND", b"")))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_damaged_images_never_crash_the_stage(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encoded(left_red_right_blue(size=(40, 30)), kind, **({} if kind == "BMP" else {"exif": exif}))
    generator, path = np.random.default_rng(3), tmp_path / "a.png"
    for number in range(150):
        data = bytearray(whole)
        for position in generator.integers(0, min(len(data), 400), generator.integers(1, 6)):
            data[position] = generator.integers(0, 256)
        path.write_bytes(data[:generator.integers(1, len(data))] if number % 3 == 0 else data)
        try:
            array = calibration_files.load_image(path, PICTURE, "rgb")
        except ValueError:
            continue
        assert array.shape == (1, 3, 4, 6) and 0 <= array.min() <= array.max() <= 255


def test_the_facts_name_the_inputs_that_got_images(tmp_path):
    two = [PICTURE, PICTURE | {"name": "y"}]
    done = Calibrated(tmp_path, {"x/0.png": encoded(left_red_right_blue()), "y/0.npy": npy(picture())}, inputs=two)
    assert done.facts["images"] == ["x"] and done.arrays(0)[0].max() == 200
