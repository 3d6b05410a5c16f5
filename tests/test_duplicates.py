import io
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masks import MASKS, boxed, framed
from PIL import Image, ImageOps

from toolkit.photographs import duplicates, hashes
from toolkit.photographs.alignment import Pyramid
from toolkit.photographs.duplicates import LONGEST, VIEWS, find
from toolkit.photographs.likeness import build_index, compare_all, look_up
from toolkit.photographs.surrounds import comparable_thumbnail, surround
from toolkit.workers import spread


def blotches(seed, size=(128, 96)):
    """Return a picture of its own: soft spots, as skin has them, with some grain."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(40, 215, (12, 16), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (size[1], size[0]))
    return Image.fromarray(np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8))


def small(picture):
    scale = LONGEST / max(picture.size)
    return np.asarray(picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BICUBIC))


def part(picture, left, top, right, bottom):
    width, height = picture.size
    return picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=40), st.integers(0, 12), st.randoms())
@settings(max_examples=60, deadline=None)
def test_close_hashes_are_exactly_those_that_brute_force_finds(values, distance, random):
    values += [value ^ sum(1 << random.randrange(64) for _ in range(random.randrange(12))) % 2**64 for value in values]
    library = np.array(values, dtype=np.uint64)
    brute = np.argwhere(np.bitwise_count(library[:, None] ^ library[None]) <= distance)

    np.testing.assert_array_equal(brute, hashes.close_hashes(library, library, distance=distance))


def test_the_hash_of_every_orientation_comes_from_one_transform():
    square = np.random.default_rng(5).normal(size=(32, 32)).astype(np.float32)
    ways = []
    for swap, down, right in hashes.ORIENTATIONS:
        way = square.T if swap else square
        way = way[::-1] if down else way
        ways.append(way[:, ::-1] if right else way)
    low = hashes.spectra(square)

    np.testing.assert_allclose(hashes.spectra(np.stack(ways)), hashes.oriented(low), atol=1e-4)
    np.testing.assert_array_equal(hashes.hashes(hashes.spectra(np.stack(ways))), hashes.hashes(hashes.oriented(low)))
    assert 8 == len(set(hashes.hashes(hashes.oriented(low)).tolist()))


CHANGES = {
    "saved again": lambda picture: picture.point(lambda grey: 30 + 0.7 * grey),
    "mirrored": ImageOps.mirror,
    "mirrored, rotated by 180°": ImageOps.flip,
    "rotated by 90°": lambda picture: picture.transpose(Image.Transpose.ROTATE_270),
    "rotated by 180°": lambda picture: picture.transpose(Image.Transpose.ROTATE_180),
    "mirrored, rotated by 90°": lambda picture: picture.transpose(Image.Transpose.TRANSVERSE),
    "the second is an 81 % crop of the first": lambda picture: picture.crop(
        (0, 0, round(0.9 * picture.width), round(0.9 * picture.height))
    ),
    "the second is a 64 % crop of the first": lambda picture: picture.crop(
        (round(0.2 * picture.width), round(0.1 * picture.height), picture.width, round(0.9 * picture.height))
    ),
    "rotated by 5°": lambda picture: picture.rotate(5, Image.Resampling.BICUBIC),
}


@pytest.mark.soak_after(4)
@pytest.mark.parametrize("words", CHANGES)
def test_a_changed_copy_is_found_and_its_change_is_named(words):
    originals = [blotches(seed, size=(512, 384)) for seed in range(6)]
    found = find([*map(small, originals), small(CHANGES[words](originals[2]))])

    assert [(2, 6, words)] == [(pair.first, pair.other, pair.change) for pair in found]
    assert 0.9 < found[0].score <= 1


def test_the_words_for_a_change_follow_the_order_of_the_pair():
    original = blotches(1, size=(512, 384))
    found = find([small(CHANGES["the second is a 64 % crop of the first"](original)), small(original)])

    assert ["the first is a 64 % crop of the second"] == [pair.change for pair in found]


def test_pictures_of_their_own_are_not_found():
    assert [] == find([small(blotches(seed)) for seed in range(60)])


def test_the_same_outline_with_other_details_is_no_duplicate():
    pictures = []
    for seed in range(8):
        y, x = np.mgrid[-48:48, -64:64]
        spot = np.where(x**2 + y**2 < 900, 90, 190) + np.random.default_rng(seed).normal(0, 5, (96, 128))
        pictures.append(spot.astype(np.uint8))

    assert [] == find(pictures)


def test_blank_pictures_are_never_duplicates():
    assert [] == find([np.full((96, 128), grey, dtype=np.uint8) for grey in (0, 200, 200)])


def test_several_processes_find_what_one_finds(monkeypatch):
    shown = [np.asarray(turn(blotches(seed))) for turn in (np.asarray, ImageOps.mirror) for seed in range(6)]
    alone = find(shown)
    monkeypatch.setattr(duplicates, "AT_ONCE", 2)
    monkeypatch.setattr(duplicates, "spread", partial(spread, processes=2))

    assert 6 == len(alone)
    assert alone == find(shown)


def test_among_very_many_pictures_crops_and_rotations_are_found_too(monkeypatch):
    originals = [blotches(seed, size=(512, 384)) for seed in range(40)]
    pictures = [small(picture) for picture in [*originals, *(CHANGES[words](originals[2]) for words in CHANGES)]]
    compared = find(pictures)
    monkeypatch.setitem(duplicates.SETTINGS, "most_compared", 3)
    looked_up = find(pictures)

    assert len(CHANGES) <= len(compared)
    assert compared == looked_up


def test_the_index_finds_what_comparing_all_finds():
    rng = np.random.default_rng(8)
    pictures = [np.asarray(blotches(seed, size=(64, 48))) for seed in range(300)]
    pictures += [np.rot90(pictures[number])[:50, :40] for number in range(60)]
    pictures += [np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255) for picture in pictures[:60]]
    views = np.stack([hashes.vectors(duplicates._squares(picture, VIEWS)) for picture in pictures])
    whole = np.ascontiguousarray(views[:, 0].reshape(-1, 64))
    index = build_index(whole, likeness=0.8)
    looked_up = [
        look for start in range(0, 420, 16) for look in look_up(views[start : start + 16], index, likeness=0.8)
    ]

    for own, look in zip(views, looked_up, strict=True):
        expected = compare_all(own, whole, likeness=0.8)
        np.testing.assert_array_equal(expected.others, look.others)
        np.testing.assert_allclose(expected.likenesses, look.likenesses, atol=1e-5)
        np.testing.assert_array_equal(expected.views, look.views)
    assert sum(len(look.others) for look in looked_up) > 480


def test_the_index_compares_few_of_many():
    rng = np.random.default_rng(9)
    whole = rng.normal(size=(4_000, 64)).astype(np.float32)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    index = build_index(whole, likeness=0.88)
    searched = whole @ index.centres.T >= index.nearest
    compared = searched @ np.array([len(own) for own in index.members[1:]]) + len(index.members[0])

    assert sorted(np.concatenate(index.members).tolist()) == list(range(4_000))
    assert compared.mean() < 0.1 * len(whole)


def opened(picture, quality=90):
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=quality)
    return comparable_thumbnail(file.getvalue(), longest=LONGEST)


@pytest.fixture(scope="module")
def real(shared):
    """Real photographs of as many patients."""
    folder = shared / "pad_ufes_20" / "images"
    of_patient = {path.name.split("_")[1]: path for path in sorted(folder.iterdir(), reverse=True)}
    return [Image.open(of_patient[patient]).convert("RGB") for patient in sorted(of_patient)[:24]]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    "mask", [pytest.param(mask, marks=[pytest.mark.soak] if n % 4 else []) for n, mask in enumerate(MASKS)]
)
def test_photographs_that_are_masked_alike_are_no_duplicates(mask, real):
    masked = [opened(MASKS[mask](picture, number)) for number, picture in enumerate(real)]

    assert [] == find(masked)


@pytest.mark.soak_after(3)
@pytest.mark.parametrize("mask", MASKS)
def test_a_changed_copy_of_a_masked_photograph_is_found(mask):
    masked = [MASKS[mask](blotches(seed, size=(512, 384)).convert("RGB"), seed) for seed in range(6)]
    changed = [CHANGES[words](masked[2].convert("L")) for words in ("saved again", "mirrored", "rotated by 90°")]
    found = find([opened(picture) for picture in [*masked, *changed]])

    assert {(2, 6), (2, 7), (2, 8), (6, 7), (6, 8), (7, 8)} == {(pair.first, pair.other) for pair in found}


def test_a_photograph_in_a_frame_is_a_duplicate_of_the_one_without():
    pictures = [blotches(seed, size=(400, 400)) for seed in range(6)]
    changed = [mask(pictures[2].convert("RGB"), 0) for mask in (framed(0.12, "white"), framed(0.2, "black"), boxed)]
    found = find([opened(picture) for picture in [*pictures, *changed]])

    assert {(2, 6), (2, 7), (2, 8), (6, 7), (6, 8), (7, 8)} == {(pair.first, pair.other) for pair in found}


def test_a_surround_is_a_flat_area_at_the_edge():
    ground = np.full((96, 128), 200, dtype=np.uint8)
    ground[20:60, 30:90] = np.asarray(blotches(3, size=(60, 40)))
    ground[35:45, 50:60] = 200  # flat, but within
    around = surround(ground)

    assert around[:18].all()
    assert around[:, 92:].all()
    assert not around[24:56, 34:86].any()


@pytest.mark.parametrize("size", [(400, 3), (3, 400), (2, 2), (300, 12)])
def test_what_a_surround_leaves_may_be_next_to_nothing(size):
    ground = Image.new("RGB", (400, 400))
    ground.paste(blotches(1, size=size).convert("RGB"), (0 if size[0] == 400 else 50, 0 if size[1] == 400 else 70))

    assert max(opened(ground).shape) == LONGEST
    assert len(find([opened(ground), opened(ground)])) <= 1


@pytest.mark.parametrize(("scale", "is_found"), [(0.8, True), (0.7, False)])
def test_an_alignment_that_shows_less_than_any_crop_proposed_has_drifted(scale, is_found, monkeypatch):
    monkeypatch.setattr(duplicates, "VIEWS", (duplicates.View(scale),))
    whole, edge = blotches(4, size=(256, 192)), (1 - scale) / 2
    pictures = [Pyramid(small(each)) for each in (whole, part(whole, edge, edge, 1 - edge, 1 - edge))]

    assert is_found == (duplicates._pair(duplicates.CandidatePair(0, 1, 0, 0), *pictures) is not None)
