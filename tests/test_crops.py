import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from toolkit.cases import Box
from toolkit.photographs.crops import border_pixels, case_pixels, square

SKIN, LESION = (220, 180, 160), (60, 30, 20)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def photograph(width: int, height: int, lesion: tuple[int, int, int, int]) -> Image.Image:
    image = Image.new("RGB", (width, height), SKIN)
    ImageDraw.Draw(image).ellipse(lesion, fill=LESION)
    return image


def width_by_height(pixels: np.ndarray) -> float:
    """Return the aspect ratio of what is dark."""
    dark = pixels.mean(axis=2) < 110
    return (np.ptp(np.nonzero(dark.any(axis=0))) + 1) / (np.ptp(np.nonzero(dark.any(axis=1))) + 1)


# A ROI three times as wide as its lesion, within the photograph, at an edge, in a corner; and the whole photograph.
CASES = [
    ((600, 400), (250, 150, 350, 250), Box(150, 150, 300, 100)),
    ((600, 400), (0, 10, 100, 110), Box(0, 10, 300, 100)),
    ((600, 400), (500, 300, 599, 399), Box(500, 100, 100, 300)),
    ((600, 200), (250, 50, 350, 150), Box(50, 0, 500, 200)),
    ((600, 200), (250, 50, 350, 150), None),
    ((200, 600), (50, 250, 150, 350), None),
]


@pytest.mark.parametrize(("size", "lesion", "roi"), CASES)
@pytest.mark.parametrize("margin", [0.0, 0.15])
def test_a_circle_stays_a_circle_when_crops_are_padded_and_becomes_an_ellipse_when_squashed(size, lesion, roi, margin):
    content = png(photograph(*size, lesion))

    padded = case_pixels(content, roi, margin=margin, size=224, shape="pad")

    assert (224, 224, 3) == padded.shape
    assert 1 == pytest.approx(width_by_height(padded), abs=0.05)
    squashed = width_by_height(case_pixels(content, roi, margin=margin, size=224))
    assert abs(np.log(squashed)) > np.log(1.8)


def test_padding_is_what_surrounds_the_roi_and_beyond_the_photograph_the_mean_colour_of_the_rest():
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))

    within = np.asarray(square(image, Box(20, 15, 20, 10), margin=0))
    beyond = np.asarray(square(image, Box(0, 0, 30, 10), margin=0))

    np.testing.assert_array_equal(np.asarray(image)[10:30, 20:40], within)
    assert (30, 30, 3) == beyond.shape
    np.testing.assert_array_equal(np.asarray(image)[:20, :30], beyond[10:])
    colour = np.rint(beyond[10:].reshape(-1, 3).mean(axis=0))
    np.testing.assert_array_equal(np.broadcast_to(colour, (10, 30, 3)), beyond[:10])


def test_a_square_roi_within_the_photograph_is_the_same_squashed_and_padded():
    content = png(photograph(300, 200, (100, 50, 180, 130)))
    roi = Box(100, 50, 80, 80)

    squashed, padded = (case_pixels(content, roi, margin=0.15, size=64, shape=shape) for shape in ("squash", "pad"))

    np.testing.assert_array_equal(squashed, padded)


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(*[st.floats(0, 1)] * 4),
    st.sampled_from([0.0, 0.15, 2.0]),
)
def test_a_padded_crop_is_square_and_holds_all_that_the_squashed_one_holds(size, shares, margin):
    number = np.arange(size[0] * size[1]).reshape(size[1], size[0]) + 1
    image = Image.fromarray(np.stack([number // 256, number % 256, number * 0], axis=-1).astype(np.uint8))
    left, top = shares[0] * (size[0] - 1), shares[1] * (size[1] - 1)
    roi = Box(left, top, max(shares[2] * (size[0] - left), 0.5), max(shares[3] * (size[1] - top), 0.5))

    padded = square(image, roi, margin=margin)

    assert padded.width == padded.height
    seen = set(map(tuple, np.asarray(padded).reshape(-1, 3).tolist()))
    inner = image.crop(
        (int(roi.left), int(roi.top), int(np.ceil(roi.left + roi.width)), int(np.ceil(roi.top + roi.height)))
    )
    assert set(map(tuple, np.asarray(inner).reshape(-1, 3).tolist())) <= seen


@pytest.mark.parametrize("roi", [Box(150, 150, 300, 100), Box(0, 10, 300, 100)])
def test_nothing_of_the_lesion_is_left_when_a_padded_crop_is_painted_over(roi):
    middle = (roi.left + roi.width / 2 - 40, roi.top + 10, roi.left + roi.width / 2 + 40, roi.top + 90)
    content = png(photograph(600, 400, middle))

    seen = border_pixels(content, roi, margin=0.15, size=64, shape="pad")

    assert {SKIN} == set(map(tuple, seen.reshape(-1, 3).tolist()))
