"""The formats of photographs: those that are read, and the names of others, told by their first bytes."""

import importlib
import re
from contextlib import suppress
from functools import lru_cache

from PIL import Image, features

from toolkit.errors import PhotographError

SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},
    "AVIF": {".avif"},
    "JPEG2000": {".jp2", ".j2k", ".j2c", ".jpx", ".jpf"},
    "HEIF": {".heic", ".heif", ".hif"},
}
"""Suffixes of the formats that are read, by Pillow's names; HEIF only with the extra `heic`."""
LIBRARIES = ("pil", "jpg", "libjpeg_turbo", "jpg_2000", "zlib", "libtiff", "webp", "avif", "littlecms2")
"""Pillow and what it is built with, by its own names."""
CONVERT = "save it as JPEG or PNG"
HEIC = "HEIC"
PILLOW = {HEIC: "HEIF", "AVIF": "AVIF", "JPEG 2000": "JPEG2000"}
"""Pillow's names of formats that are read where it can."""
BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"crx ",), "camera raw (CR3)"),
}
"""Kinds of ISO media files by their brand; any other brand is a video's."""
SIGNATURES = (
    (re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"II\x2a\x00.{4}CR", re.DOTALL), "camera raw (CR2)"),
    (re.compile(rb"FUJIFILMCCD-RAW"), "camera raw (RAF)"),
    (re.compile(rb"IIU\x00|IIRO|MMOR"), "camera raw"),
    (re.compile(rb"\x1aE\xdf\xa3|RIFF.{4}AVI |\x00\x00\x01[\xb3\xba]|FLV", re.DOTALL), "video"),
    (re.compile(rb".{128}DICM", re.DOTALL), "DICOM"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%PDF-"), "PDF"),
)


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read here: with the extra `heic`, HEIF is one."""
    Image.init()
    with suppress(ImportError):
        importlib.import_module("pi_heif").register_heif_opener(thumbnails=False)
    return tuple(name for name in SUFFIXES if name in Image.OPEN)


def decoders() -> dict[str, str | None]:
    """Return the versions of what decodes photographs; of another one the last bits of a pixel may differ."""
    found = {name: features.version(name) for name in LIBRARIES}
    with suppress(ImportError):
        found["HEIF"] = importlib.import_module("pi_heif").libheif_version()
    return found


def refused(content: bytes) -> PhotographError | None:
    """Return why a file in a format that has a name, and is not read, cannot be used; None for any other."""
    name = name_of(content)
    if name is None or PILLOW.get(name) in formats():
        return None
    if name == HEIC:
        way = f"install lesion-toolkit[heic], or {CONVERT}"
    else:
        way = "a video has no single photograph" if name == "video" else CONVERT
    return PhotographError(f"image_format:{name}", f"a file in the format {name}, which is not read here: {way}")


def name_of(content: bytes) -> str | None:
    """Return the name of a format that is not read everywhere; None for the others and what is no photograph."""
    if content[4:8] == b"ftyp":
        brands = (content[8:12], *(content[at : at + 4] for at in range(16, min(int.from_bytes(content[:4]), 64), 4)))
        return next((BRANDS[brand] for brand in brands if brand in BRANDS), "video")
    return next((name for pattern, name in SIGNATURES if pattern.match(content)), None)
