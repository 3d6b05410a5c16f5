"""A decoded photograph in RGB: which number is white, transparency, and the colour profile that its file carries.

Digests are of pixels before the profile is applied: they stay what they were when profiles were ignored.
"""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from toolkit.errors import PhotographError
from toolkit.privacy import printable, scrub

FULL_16 = 65_535
DIM = FULL_16 // 4
"""The largest number of a photograph that was stored in 16 bits a sample and taken with fewer; 14 is the most."""
NEARLY = 3
"""Levels of 255 by which a profile may change a colour and still be called sRGB."""
LARGEST_PROFILE = 4_000_000
LONGEST_NAME = 60
BITS, WHITE_IS_ZERO, LARGEST, LARGEST_OF_KIND = 258, 262, 281, 341
"""Tags of a TIFF."""
SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
"""The mode of the pixels that a profile is for, by its colour space."""
SRGB = ImageCms.createProfile("sRGB")


class Profile(NamedTuple):
    """What a photograph's colour profile does to it: a reason code with words, and unless it is ignored, how."""

    reason: str
    detail: str
    transform: ImageCms.ImageCmsTransform | None = None
    mode: str = "RGB"


def has_alpha(image: Image.Image) -> bool:
    """Tell whether a photograph has transparent places."""
    return "A" in image.getbands() or "transparency" in image.info


def is_grey(mode: str) -> bool:
    """Tell a mode without colours."""
    return mode in ("1", "L", "LA", "F") or mode.startswith("I")


def is_deep(mode: str) -> bool:
    """Tell a mode with more than 8 bits a sample."""
    return mode == "F" or mode.startswith("I")


def has_16_bits(image: Image.Image) -> bool:
    """Tell whether the file of a photograph that is not loaded yet has 16 bits a sample; Pillow keeps 8 of colours."""
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def note_white(image: Image.Image, *, of_16_bits: bool) -> None:
    """Note in a loaded photograph's `info` which of its numbers is white, where it has more than 8 bits a sample.

    Raises PhotographError (`image_depth`) where the file does not say it and the numbers leave it open.
    """
    tags = getattr(image, "tag_v2", {})
    if is_deep(image.mode):
        image.info["white"] = _white(image, tags)
        image.info["inverted"] = tags.get(WHITE_IS_ZERO) == 0
    elif of_16_bits and image.mode in ("RGB", "RGBA"):
        _check_bright(256 * int(np.asarray(image.convert("RGB")).max()), 16)


def _white(image: Image.Image, tags: dict) -> float:
    numbers = np.asarray(image)
    lowest, highest = float(numbers.min()), float(numbers.max())
    if not np.isfinite([lowest, highest]).all() or lowest < 0:
        raise PhotographError("image_depth", "its pixels hold numbers below 0, or that are none")
    if tags.get(BITS) == (12,):
        return 4095
    for tag in (LARGEST_OF_KIND, LARGEST):
        said = tags.get(tag)
        said = said[0] if isinstance(said, tuple) and said else said
        if isinstance(said, int | float) and max(highest, 0) <= said < np.inf and said > 0:
            return float(said)
    if image.mode == "F":
        if highest > 1:
            raise PhotographError(
                "image_depth", f"its pixels are numbers up to {highest:.4g}, and nothing says what is white"
            )
        return 1
    if highest > FULL_16:
        raise PhotographError(
            "image_depth", f"its pixels are numbers up to {highest:.0f}, and nothing says what is white"
        )
    _check_bright(highest, 16)
    return FULL_16


def _check_bright(highest: float, bits: int) -> None:
    if highest <= DIM:
        problem = (
            f"it is stored with {bits} bits a sample, of which its brightest place uses {int(highest).bit_length()}"
        )
        raise PhotographError("image_depth", f"{problem}: whether it is dark, or has fewer bits, nothing says")


def to_rgb(image: Image.Image, *, managed: bool = True) -> Image.Image:
    """Return a photograph in RGB, and in sRGB if `managed`: deep numbers scaled, transparent places over white."""
    image = _with_8_bits(image) if is_deep(image.mode) else image
    profile = profile_of(image) if managed else None
    if profile and profile.transform:
        colours = profile.transform.apply(image.convert(profile.mode))
        if has_alpha(image):
            colours.putalpha(image.convert("RGBA").getchannel("A"))
        image = colours
    if has_alpha(image):
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    return image.convert("RGB")


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Scale deep numbers so that white is 255; Pillow's own conversion clips them."""
    white = image.info.get("white", FULL_16)
    numbers = np.asarray(image, dtype=np.float64)
    numbers = white - numbers if image.info.get("inverted") else numbers
    scaled = Image.fromarray((numbers / (white / 255)).round().astype(np.uint8))
    scaled.info = {name: image.info[name] for name in ("icc_profile",) if name in image.info}
    return scaled


def profile_of(image: Image.Image) -> Profile | None:
    """Return what the colour profile in a photograph's file means for it; None without one, or where it is sRGB."""
    content = image.info.get("icc_profile")
    if not content:
        return None
    return _profile(content, "L" if is_grey(image.mode) else image.mode)


@lru_cache(maxsize=64)
def _profile(content: bytes, mode: str) -> Profile | None:
    if len(content) > LARGEST_PROFILE:
        return _ignored("is larger than any is")
    try:
        embedded = ImageCms.ImageCmsProfile(io.BytesIO(content))
        made_for = SPACES.get(embedded.profile.xcolor_space.strip(), "")
        name = scrub(printable(embedded.profile.profile_description or "")).strip()[:LONGEST_NAME]
        if not _takes(made_for, mode):
            return _ignored(f"is for {printable(embedded.profile.xcolor_space.strip())}, its pixels are {mode}")
        transform = ImageCms.buildTransform(embedded, SRGB, made_for, "RGB")
        if made_for in ("RGB", "L") and _changes_little(transform, made_for):
            return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return _ignored("cannot be read")
    words = f" ({name})" if name else ""
    detail = f"its colours are converted from its own colour profile{words} to sRGB"
    return Profile("converted:icc->sRGB", detail, transform, made_for)


def _takes(made_for: str, mode: str) -> bool:
    """Tell whether a profile for one mode can be applied to pixels of another: grey has a place among colours."""
    return made_for == mode or (made_for == "RGB" and mode not in ("CMYK", "LAB"))


def _ignored(why: str) -> Profile:
    return Profile("ignored:icc", f"its colour profile {why}; its colours are taken as sRGB")


def _changes_little(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Tell whether a profile leaves all colours, sampled in steps of 17 levels, nearly as they are."""
    steps = np.arange(0, 256, 17, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(64, 64, 3) if mode == "RGB" else steps[None]
    before = Image.fromarray(grid)
    after = np.asarray(transform.apply(before)).astype(int)
    return int(np.abs(after - np.asarray(before.convert("RGB"))).max()) <= NEARLY
