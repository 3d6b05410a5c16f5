"""Safe opening of photographs: find a file, decode it upright in RGB, describe it, make a thumbnail.

Whatever is no single still photograph of sensible size raises PhotographError with a reason code.
"""

import hashlib
import io
import os
import re
import stat
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import IFD, Base

from toolkit.errors import DamagedError, PhotographError
from toolkit.photographs.colour import has_16_bits, has_alpha, note_white, profile_of, to_rgb
from toolkit.photographs.formats import SUFFIXES, formats, refused

LARGEST = 89_478_485
"""Pixels; Pillow only warns from here on, and a 12-megapixel camera stays far below."""
SMALLEST = 16
"""Pixels on the shorter side."""
LONGEST_ASPECT = 20
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,119}")
PERSONAL = (Base.ImageDescription, Base.Artist, Base.Copyright, Base.XPAuthor, Base.XPComment, Base.XPTitle)
"""EXIF fields that may hold a name."""


class Probe(NamedTuple):
    """A photograph's digests, of its bytes and of its upright pixels, and its upright size.

    `changes` says, by reason code, what is done to it before anybody sees it: rotated, converted, metadata left out.
    """

    sha256: str
    pixel_sha256: str
    width: int
    height: int
    changes: dict[str, str]


def file_name(identifier: str) -> str:
    """Return the file name of a pulled photograph or mask: its Labelbox ID, or a digest where that is no safe name."""
    return identifier if SAFE_NAME.fullmatch(identifier) else f"x-{hashlib.sha256(identifier.encode()).hexdigest()}"


def read_photograph(path: Path) -> bytes:
    """Return a photograph's bytes; only plain files are read, so that no pipe or device can block."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise PhotographError("image_unreadable", "not a plain file")
            content = file.read()
    except OSError as error:
        raise PhotographError("image_unreadable", f"cannot be read: {error.strerror}") from None
    if not content:
        raise PhotographError("image_empty", "zero bytes")
    return content


def read_parsed(path: Path, sha256: str | None, *, name: str) -> bytes:
    """Return the bytes of a photograph that was parsed; raise DamagedError where they are no longer those.

    `name` says which one in words that may be shown: a file's name may hold a patient's identifier.
    """
    content = read_photograph(path)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        problem = "the photograph is not the one that was parsed: its file was changed or damaged since"
        raise DamagedError(
            problem, place=name, remedy="put it back, or parse again and make what follows from it again"
        )
    return content


def open_photograph(content: bytes) -> Image.Image:
    """Decode a photograph whole, upright and in sRGB."""
    return to_rgb(ImageOps.exif_transpose(_decoded(content)))


def _decoded(content: bytes, *, at_least: int | None = None) -> Image.Image:
    """Decode a photograph; with `at_least`, as small as its file gives it cheaply with that many pixels a side."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            image = Image.open(io.BytesIO(content), formats=formats())
            _check_header(image)
            of_16_bits = has_16_bits(image)
            if at_least is not None:
                image.draft(None, (at_least, at_least))
            image.load()
            image.getexif()
            note_white(image, of_16_bits=of_16_bits)
    except PhotographError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PhotographError("image_too_large", f"more than {LARGEST} pixels") from None
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on hostile bytes
        if other := refused(content):
            raise other from None
        cut = "truncated" in str(error).lower()
        reason = "image_truncated" if cut else "image_unreadable"
        raise PhotographError(reason, f"cannot be decoded: {type(error).__name__}") from None
    return image


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > LARGEST:
        raise PhotographError("image_too_large", f"{width} x {height} pixels")
    if max(width, height) > LONGEST_ASPECT * min(width, height):
        raise PhotographError("image_aspect", f"{width} x {height} pixels")
    if min(width, height) < SMALLEST:
        raise PhotographError("image_too_small", f"{width} x {height} pixels")
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise PhotographError("image_multiframe", "several frames or pages")


def probe(content: bytes, suffix: str = "") -> Probe:
    """Return the digests and upright size of a photograph; `suffix` is its file's, and may lie."""
    decoded = _decoded(content)
    changes = _changes(decoded, suffix.lower())
    if decoded.info.get("comment") or (decoded.format == "JPEG" and _has_late_comment(content)):
        changes["re-encoded"] = "its file holds a comment; what is made from it does not"
    image = to_rgb(ImageOps.exif_transpose(decoded), managed=False)
    digest = hashlib.sha256(f"{image.width}x{image.height}\0".encode())
    digest.update(image.tobytes())
    return Probe(hashlib.sha256(content).hexdigest(), digest.hexdigest(), image.width, image.height, changes)


def _has_late_comment(content: bytes) -> bool:
    """Tell whether a JPEG has a comment behind its pixels, where Pillow does not look."""
    # In pixels a 0 or a restart marker follows every 0xFF.
    return content.find(b"\xff\xfe", content.rfind(b"\xff\xda")) > 0


def _changes(image: Image.Image, suffix: str) -> dict[str, str]:
    """Return what is done to a photograph before it is used, as reason codes with words."""
    changes = {}
    exif = image.getexif()
    if image.mode != "RGB" or has_alpha(image):
        mode = "alpha" if has_alpha(image) else image.mode
        white = f"; {image.info['white']:.6g} is taken as white" if image.mode == "F" else ""
        changes[f"converted:{mode}->RGB"] = f"its pixels are converted to RGB{white}"
    if profile := profile_of(image):
        changes[profile.reason] = profile.detail
    if exif.get(Base.Orientation, 1) in range(2, 9):
        changes["rotated:exif"] = "it is rotated upright as its EXIF says"
    if exif.get(IFD.GPSInfo) or any(exif.get(field) for field in PERSONAL):
        changes["exif_stripped"] = "its file says where or by whom it was taken; what is made from it does not"
    if suffix not in SUFFIXES.get(image.format or "", ()) and suffix in set().union(*SUFFIXES.values()):
        changes["mime_mismatch"] = f"its name ends in {suffix}, its content is {image.format}"
    return changes


def thumbnail(image: Image.Image, *, longest: int) -> bytes:
    """Return a small WebP of an image, encoded anew: nothing of the file it came from but its pixels."""
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80, method=0)  # half the time of method 4, a tenth larger
    return buffer.getvalue()


def grayscale_thumbnail(content: bytes, *, longest: int) -> np.ndarray:
    """Return a small upright photograph, (rows, columns) uint8; JPEG is decoded at a fraction of its size."""
    decoded = _decoded(content, at_least=2 * longest)
    image = to_rgb(ImageOps.exif_transpose(decoded), managed=False).convert("L")
    scale = longest / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
