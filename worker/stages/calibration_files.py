"""One file of a calibration set as an input's array; and a set's zip as a folder."""
import errno
import os
import stat
import zipfile
import zlib

from shared.rules import calibration as rules
from shared.rules.reasons import calibration as reasons
from shared.rules.refusal import Unusable
from worker.stages.samples import numpy_dtype

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")  # whatever the name says: Pillow knows formats that run programs


def load_array(path, item):
    """A `.npy` in the input's shape (its first dimension may be left out where it is 1) and dtype.

    Raises:
        Unusable: what is wrong with it.
    """
    import numpy as np

    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in read_header:
                raise Unusable(reasons.UNKNOWN_VERSION(version=version))
            shape, _, dtype = read_header[version](file)
        except Unusable as error:
            raise Unusable(reasons.NOT_NPY(said=error.text)) from None
        except Exception as error:  # a header is read as Python's literals, which fails in as many ways
            raise Unusable(reasons.NOT_NPY(said=str(error)[:200])) from None
    problem = rules.array_problem("O" if dtype.hasobject else dtype.kind, dtype, shape, item)
    if problem:
        raise Unusable(problem)
    wanted, wanted_dtype = tuple(item["shape"]), numpy_dtype(item["dtype"])
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Unusable(reasons.CUT_OFF(said=str(error))) from None
    with np.errstate(over="ignore", invalid="ignore"):  # what came of it is looked at next
        cast = array.astype(wanted_dtype).reshape(wanted)
    if cast.dtype.kind == "f" and not np.isfinite(cast).all():
        raise Unusable(reasons.NOT_FINITE)
    if cast.dtype.kind in "iub" and not np.array_equal(cast, array.reshape(wanted)):
        raise Unusable(reasons.BEYOND_TYPE(dtype=wanted_dtype))
    return cast


def load_image(path, item, channel_order):
    """An image in the input's layout, size and dtype, values 0 to 255; turned as its EXIF data says, and resized
    (bilinear) without keeping its ratio.

    Raises:
        Unusable: what is wrong with it.
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    shape, dtype = item["shape"], numpy_dtype(item["dtype"])
    problem = rules.image_problem(item)
    if problem:
        raise Unusable(problem)
    channels_first = shape[1] in rules.MODES
    channels, height, width = (shape[1], *shape[2:]) if channels_first else (shape[3], *shape[1:3])
    try:
        with Image.open(path, formats=_FORMATS) as image:
            problem = rules.image_size_problem(image.width, image.height, len(image.getbands()),
                                               os.path.getsize(path))
            if problem:
                raise Unusable(problem)
            upright = ImageOps.exif_transpose(_in_eight_bits(image))
            upright = upright.convert(rules.MODES[channels])
            pixels = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR))
    except UnidentifiedImageError:  # it would name this machine's folders
        raise Unusable(reasons.NOT_AN_IMAGE(
            said=reasons.NO_KNOWN_FORMAT(formats=", ".join(_FORMATS)))) from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unusable(reasons.NOT_AN_IMAGE(said=str(error))) from None
    pixels = pixels.reshape(height, width, channels)
    if channel_order == "bgr" and channels >= 3:
        pixels = pixels[:, :, [2, 1, 0, *range(3, channels)]]
    return (pixels.transpose(2, 0, 1) if channels_first else pixels)[None].astype(dtype)


def _in_eight_bits(image):
    """Pillow's own conversion cuts 16-bit values off at 255."""
    if not image.mode.startswith("I"):
        return image
    return image.point(lambda value: value / 256).convert("L")


def unpack(path, folder):
    """Extract a zip below `folder`; `(folder, names)`.

    Raises:
        StageError: `calibration_invalid`: damaged, encrypted, too large, or with names that lead out of the folder.
    """
    members = rules.Members(os.path.getsize(path))
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                is_link = stat.S_ISLNK(member.external_attr >> 16)
                if not rules.is_folder(member.filename) and members.take(member.filename, member.file_size, is_link):
                    archive.extract(member, folder)  # it checks the size against the header, and the checksum
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise rules.bad_zip(str(error)) from error
    except OSError as error:  # a name that is too long, or that of another's folder
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise rules.bad_zip(os.strerror(error.errno) if error.errno else str(error)) from error
    return folder, sorted(members.names)
