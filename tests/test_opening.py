import csv
import os

import numpy as np
import pytest
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import PhotographError, WorkspaceError
from toolkit.photographs.crops import Crops, CropSource, batches, case_pixels, crop
from toolkit.photographs.names import PhotographFolder
from toolkit.photographs.opening import open_photograph, probe, read_photograph, thumbnail
from toolkit.progress import silent

ORIENTATION = 0x0112


@pytest.fixture
def gradient():
    """A photograph whose red is its column and whose green is its row."""
    rows, columns = np.mgrid[0:100, 0:200]
    return Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8))


def test_a_crop_adds_the_margin_and_stops_at_the_edge(gradient):
    inside = crop(gradient, Box(50, 40, 20, 10), margin=0.5)
    at_edge = crop(gradient, Box(0, 90, 20, 10), margin=0.5)

    assert ((40, 20), (40, 35, 0)) == (inside.size, inside.getpixel((0, 0)))
    assert ((30, 15), (0, 85, 0)) == (at_edge.size, at_edge.getpixel((0, 0)))
    assert gradient.size == crop(gradient, None, margin=0.5).size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_photograph_upright_once(gradient, tmp_path, orientation):
    turned = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = gradient if turned is None else gradient.transpose(Image.Transpose(turned))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "p.png", exif=exif)
    upright = open_photograph(read_photograph(tmp_path / "p.png"))

    np.testing.assert_array_equal(np.asarray(gradient), np.asarray(upright))
    facts = probe((tmp_path / "p.png").read_bytes())
    assert (200, 100) == (facts.width, facts.height)
    assert ([] if orientation == 1 else ["rotated:exif"]) == list(facts.changes)


def test_a_thumbnail_carries_nothing_but_pixels(gradient, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    gradient.save(tmp_path / "p.jpg", exif=exif, comment=b"<script>")
    small = thumbnail(open_photograph((tmp_path / "p.jpg").read_bytes()), longest=50)

    assert b"Jane" in (tmp_path / "p.jpg").read_bytes()
    assert b"Jane" not in small
    assert b"script" not in small


@pytest.mark.parametrize("name", ["../outside.jpg", "link.jpg", "/etc/hostname"])
def test_no_name_leads_outside_the_photographs_folder(tmp_path, name):
    folder = tmp_path / "photographs"
    folder.mkdir()
    (tmp_path / "outside.jpg").write_bytes(b"x")
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")

    with pytest.raises(PhotographError) as caught:
        PhotographFolder(folder).find([name])
    assert "unsafe_path" == caught.value.reason


def test_the_first_name_that_is_there_is_taken(tmp_path):
    (tmp_path / "b.jpg").write_bytes(b"x")

    assert tmp_path / "b.jpg" == PhotographFolder(tmp_path).find(["a.jpg", "b.jpg"])
    with pytest.raises(PhotographError, match="no file"):
        PhotographFolder(tmp_path).find(["a.jpg"])


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "p.jpg")

    with pytest.raises(PhotographError) as caught:
        read_photograph(tmp_path / "p.jpg")
    assert "image_unreadable" == caught.value.reason


def test_crops_are_decoded_once_and_only_as_many_as_memory_allows(gradient, tmp_path):
    gradient.save(tmp_path / "p.png")
    crops = Crops([CropSource("c1", tmp_path / "p.png", None)] * 3, margin=0.1, size=8, keep=2 * 8 * 8 * 3)
    crops.load(silent)

    assert {0, 1} == set(crops.cache)
    np.testing.assert_array_equal(crops[2], case_pixels((tmp_path / "p.png").read_bytes(), None, margin=0.1, size=8))


def test_identical_pixels_in_another_format_have_the_same_digest(gradient, tmp_path):
    gradient.save(tmp_path / "a.png")
    gradient.save(tmp_path / "b.bmp")
    one, other = (probe((tmp_path / name).read_bytes()) for name in ("a.png", "b.bmp"))

    assert one.pixel_sha256 == other.pixel_sha256
    assert one.sha256 != other.sha256


def test_hostile_photographs_end_as_their_manifest_says(shared):
    with (shared / "hostile" / "MANIFEST.csv").open(newline="") as file:
        listed = [r for r in csv.DictReader(file) if r["kind"] == "images" and not r["setup"]]
    assert {"accept", "accept_normalised", "quarantine"} == {expected["expected"] for expected in listed}

    assert 28 == len(listed)
    for expected in listed:
        path = shared / "hostile" / expected["name"]
        if expected["expected"] != "quarantine":
            assert "RGB" == open_photograph(path.read_bytes()).mode, expected["name"]
            changes = probe(path.read_bytes(), path.suffix).changes

            assert {expected["reason"]} - {""} <= set(changes), expected["name"]
            continue
        with pytest.raises(PhotographError) as caught:
            open_photograph(read_photograph(path))
        assert caught.value.reason in expected["reason"].split("|"), expected["name"]


def test_a_photograph_that_is_gone_is_told_by_its_case_not_by_its_name(tmp_path):
    crops = Crops([CropSource("c1", tmp_path / "PAT_7.png", None)], margin=0.1, size=8)

    with pytest.raises(WorkspaceError, match="case c1") as caught:
        crops.load(silent)
    assert "PAT_7" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 40])
def test_photographs_decoded_ahead_come_in_their_order(count):
    photographs = np.arange(count, dtype=np.uint8)[:, None, None, None]

    found = list(batches(photographs, 4))

    assert [min(4, count - start) for start in range(0, count, 4)] == [len(batch) for batch in found]
    assert list(range(count)) == [int(photograph.item()) for batch in found for photograph in batch]


def test_a_photograph_that_cannot_be_decoded_ends_the_batches(tmp_path):
    crops = Crops([CropSource("c1", tmp_path / "gone.jpg", None)], margin=0, size=8)

    with pytest.raises(WorkspaceError, match="can no longer be used"):
        list(batches(crops, 4))
