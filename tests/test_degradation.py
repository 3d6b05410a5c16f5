"""Degraded crops: what each kind does to pixels and boxes, and that level 0 does nothing."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from toolkit.cases import Box
from toolkit.errors import WorkspaceError
from toolkit.photographs.crops import case_pixels
from toolkit.photographs.degradation import KINDS, Degradation, degraded_pixels, named, parsed

ROI = Box(30, 20, 60, 40)


def saved(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def photograph() -> bytes:
    return saved(np.random.default_rng(3).integers(0, 256, (100, 140, 3), dtype=np.uint8))


def seen(photograph: bytes, kind: str, level: float, *, roi: Box | None = ROI, seed: int = 1, **more) -> np.ndarray:
    settings = {"margin": 0.0, "size": 40, **more}
    return degraded_pixels(photograph, roi, degradation=Degradation(kind, level), seed=seed, **settings)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("roi", [ROI, None])
@pytest.mark.parametrize("shape", ["squash", "pad"])
def test_level_0_changes_no_pixel(photograph, kind, roi, shape):
    own = case_pixels(photograph, roi, margin=0.15, size=40, shape=shape)

    assert own.tobytes() == seen(photograph, kind, 0.0, roi=roi, margin=0.15, shape=shape).tobytes()


STEPS = {
    "blur": (1, 8), "jpeg": (10, 90), "white-balance": (5, 40), "exposure": (-0.2, -2), "resolution": (50, 95),
    "noise": (2, 30), "roi-shift": (5, 60), "roi-scale": (10, 60),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes_and_more_level_changes_more(kind):
    coarse = np.random.default_rng(4).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    smooth = saved(np.asarray(Image.fromarray(coarse).resize((140, 100), Image.Resampling.BICUBIC)))
    own, (little, much) = case_pixels(smooth, ROI, margin=0.0, size=40).astype(float), STEPS[kind]
    once, twice, less = (seen(smooth, kind, float(each)) for each in (much, much, little))

    assert once.tobytes() == twice.tobytes()
    assert np.abs(once - own).mean() > np.abs(less - own).mean() > 0


def test_noise_is_of_seed_and_photograph_and_has_its_standard_deviation():
    grey = saved(np.full((200, 200, 3), 128, np.uint8))
    other = saved(np.full((200, 200, 3), 129, np.uint8))
    drawn = seen(grey, "noise", 12.0, roi=None, size=200).astype(float) - 128

    assert 12 == pytest.approx(drawn.std(), rel=0.02)
    assert drawn.tobytes() != (seen(grey, "noise", 12.0, roi=None, size=200, seed=2).astype(float) - 128).tobytes()
    assert (
        abs(np.corrcoef(drawn.ravel(), (seen(other, "noise", 12.0, roi=None, size=200) - 129.0).ravel())[0, 1]) < 0.05
    )


def test_blur_is_a_gaussian_of_its_share_of_the_crop():
    dot = np.zeros((101, 101, 3), np.uint8)
    dot[40:61, 40:61] = 255
    expected = gaussian_filter(dot[..., 0].astype(float), 0.04 * 101)

    assert np.abs(seen(saved(dot), "blur", 4.0, roi=None, size=101)[..., 0] - expected).max() < 6


@pytest.mark.parametrize(("stops", "before", "after"), [(1, 100, 138), (-1, 200, 146), (3, 250, 255)])
def test_exposure_doubles_linear_light_by_stop_and_clips(stops, before, after):
    """By hand: sRGB 100 is 12.7 % of the light, 25.5 % is 138; 200 is 57.8 %, half of it is 146."""
    grey = saved(np.full((64, 64, 3), before, np.uint8))

    assert {after} == set(seen(grey, "exposure", float(stops), roi=None, size=64).ravel().tolist())


def test_white_balance_raises_red_and_lowers_blue():
    grey = saved(np.full((64, 64, 3), 120, np.uint8))
    red, green, blue = seen(grey, "white-balance", 30.0, roi=None, size=64)[0, 0].tolist()

    assert red > green == 120 > blue


def test_a_shifted_box_stays_in_the_photograph_and_a_longer_one_keeps_its_centre():
    across = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 3))
    both = np.stack([across[..., 0], across[..., 0].T, across[..., 0]], axis=2)
    box, settings = Box(80, 80, 40, 40), {"size": 40}
    centres = [
        seen(saved(both), "roi-shift", 50.0, roi=box, seed=seed, **settings).mean(axis=(0, 1)) for seed in range(8)
    ]
    moves = [np.hypot(left - 99.5, top - 99.5) for left, top, _ in centres]
    corner = seen(saved(across), "roi-shift", 100.0, roi=Box(160, 160, 40, 40), **settings)
    longer = seen(saved(across), "roi-scale", 100.0, roi=box, **settings).astype(float)

    assert [20] * 8 == pytest.approx(moves, abs=1.5)  # half of 40
    assert len({round(float(left)) for left, _, _ in centres}) > 4
    assert corner.max() <= 199
    assert 0 < corner.min()
    assert 99.5 == pytest.approx(longer.mean(), abs=0.6)
    assert 80 == pytest.approx(longer.max() - longer.min(), abs=4)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("blurr:2", "'blurr:2' is no degradation"),
        ("blur", "'blur' is no degradation"),
        ("blur:", "has no number as its level"),
        ("blur:two", "has no number as its level"),
        ("blur:nan", "out of the range of blur, 0 to 25"),
        ("jpeg:100", "out of the range of jpeg, 0 to 99"),
        ("exposure:-inf", "out of the range of exposure, -5 to 5"),
    ],
)
def test_an_unknown_kind_or_a_level_out_of_range_is_refused_with_what_is_allowed(text, fault):
    with pytest.raises(WorkspaceError, match=fault) as refused:
        parsed(["noise:3", text])

    assert "blur 0 to 25" in refused.value.remedy


def test_all_faults_are_named_at_once_and_the_same_level_is_taken_once():
    with pytest.raises(WorkspaceError, match=r"'a:1'.*'noise:500'"):
        parsed(["a:1", "noise:500"])

    assert [Degradation("blur", 2.0), Degradation("exposure", 0.0)] == parsed(["blur:2.0", "blur:2", "exposure:-0"])
    assert Degradation("roi-scale", -30.0) == named(Degradation("roi-scale", -30.0).name)
    assert [None] * 4 == [named(text) for text in ("blank", None, "blur:much", "fog:1")]
