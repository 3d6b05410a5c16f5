"""Photographs as they are masked and framed for a study: for tests and benchmarks of the search for duplicates."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 400
Mask = Callable[[Image.Image, int], Image.Image]
"""Returns a photograph as it is masked; the number is the photograph's, for what differs between them."""


def ellipse(size: tuple[int, int], share: float) -> Image.Image:
    """Return a mask of an ellipse in the middle, of this share of each side."""
    mask = Image.new("L", size)
    across, down = (side * (1 - share) / 2 for side in size)
    ImageDraw.Draw(mask).ellipse((across, down, size[0] - 1 - across, size[1] - 1 - down), fill=255)
    return mask


def outline(size: tuple[int, int], number: int) -> Image.Image:
    """Return the mask of a lesion of its own outline."""
    rng, angle = np.random.default_rng(number), np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = 0.35 * (1 + 0.25 * np.convolve(rng.normal(size=46), np.ones(7) / 7, "valid"))
    points = np.stack([0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle)], axis=1) * size
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in points], fill=255)
    return mask


def on_ground(share: float, colour: str, *, blur: float = 0) -> Mask:
    """Keep an ellipse of the photograph on a ground of one colour."""

    def masked(picture: Image.Image, _: int) -> Image.Image:
        mask = ellipse(picture.size, share).filter(ImageFilter.GaussianBlur(blur * max(picture.size) / SIDE))
        return Image.composite(picture, Image.new("RGB", picture.size, colour), mask)

    return masked


def segmented(picture: Image.Image, number: int) -> Image.Image:
    return Image.composite(picture, Image.new("RGB", picture.size), outline(picture.size, number))


def noisy(picture: Image.Image, number: int) -> Image.Image:
    """Blacken the ground as a camera sees black: not quite."""
    pixels = np.asarray(on_ground(0.8, "black")(picture, number), dtype=np.float32)
    return Image.fromarray(
        (pixels + np.random.default_rng(number).normal(3, 2, pixels.shape)).clip(0, 255).astype("u1")
    )


def wide(picture: Image.Image, _: int) -> Image.Image:
    """Show the circle of a dermoscope on a wider frame."""
    side = min(picture.size)
    framed = Image.new("RGB", (side * 4 // 3, side))
    framed.paste(picture.resize((side, side)), (side // 6, 0), ellipse((side, side), 1))
    return framed


def framed(width: float, colour: str) -> Mask:
    """Put a frame around the photograph, of this share of its sides."""

    def change(picture: Image.Image, _: int) -> Image.Image:
        border = round(width * SIDE)
        frame = Image.new("RGB", (SIDE, SIDE), colour)
        frame.paste(picture.resize((SIDE - 2 * border, SIDE - 2 * border)), (border, border))
        return frame

    return change


def boxed(picture: Image.Image, _: int) -> Image.Image:
    """Put a small square photograph in the middle of a black one."""
    ground = Image.new("RGB", (SIDE, SIDE))
    ground.paste(picture.resize((SIDE // 2, SIDE // 2)), (SIDE // 4, SIDE // 4))
    return ground


def with_ruler(mask: Mask) -> Mask:
    """Lay the same ruler along the lower edge of a masked photograph."""

    def change(picture: Image.Image, number: int) -> Image.Image:
        ruled = mask(picture, number).resize((SIDE, SIDE))
        draw, top = ImageDraw.Draw(ruled), round(0.85 * SIDE)
        draw.rectangle((0, top, SIDE, SIDE), fill=(235, 235, 228))
        for tick, x in enumerate(range(4, SIDE, 10)):
            draw.line((x, top, x, top + (36 if tick % 5 == 0 else 18)), fill=(30, 30, 30), width=2)
        return ruled

    return change


def as_is(picture: Image.Image, _: int) -> Image.Image:
    return picture


MASKS: dict[str, Mask] = {
    "ellipse on black": on_ground(0.9, "black"),
    "ellipse on white": on_ground(0.9, "white"),
    "ellipse on grey": on_ground(0.8, "grey"),
    "small ellipse on black": on_ground(0.4, "black"),
    "soft ellipse on black": on_ground(0.6, "black", blur=10),
    "softer ellipse on black": on_ground(0.6, "black", blur=25),
    "own outlines on black": segmented,
    "ground not quite black": noisy,
    "circle of a dermoscope": wide,
    "small square on black": boxed,
    "thin white frame": framed(0.04, "white"),
    "white frame": framed(0.12, "white"),
    "broad white frame": framed(0.25, "white"),
    "black frame": framed(0.12, "black"),
    "ruler": with_ruler(as_is),
    "ruler under an ellipse on black": with_ruler(on_ground(0.8, "black")),
    "ruler and white frame": with_ruler(framed(0.12, "white")),
}
"""How photographs are masked, framed or measured in real studies."""
