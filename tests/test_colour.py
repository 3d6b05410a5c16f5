"""Photographs in whatever colours, depth and format: in sRGB, or kept out with words that say what to do."""

import base64
import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from toolkit.errors import PhotographError
from toolkit.manifest import load_study
from toolkit.photographs.formats import formats
from toolkit.photographs.opening import grayscale_thumbnail, open_photograph, probe
from toolkit.stages.parse import parse
from toolkit.workspace.registry import Workspace

HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAAAAAERAAAEA"
    "AQAAAAABoQABAAAAAAAAAB0AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNw"
    "AAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAA"
    "AwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAABAAAAMAAAAAEAAAAAAAAAAv////AAAAAC"
    "AAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAACVtZGF0AAAAGSgBrxOA+BDhp3/4wqP/2dM8PTxC/OikM+A="
)
"""64 x 48 pixels of (200, 141, 111), made with libheif."""


def scene():
    """Skin with a lesion: (80, 96, 3) uint8, of colours that all spaces here hold."""
    rows, columns = np.mgrid[0:80, 0:96]
    inside = ((rows - 40) ** 2 + (columns - 48) ** 2 < 500)[..., None]
    shades = np.stack([190 + columns // 4, 140 + rows // 4, 110 + rows // 8], axis=-1)
    return np.where(inside, shades // 2, shades).astype(np.uint8)


def stored(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def fixed16(value):
    return struct.pack(">i", round(value * 65536))


def matrix_profile(columns, gamma=2.2, description="A wide space"):
    """Return an ICC profile (version 2) of three primaries, given as D50 XYZ columns, and one gamma."""
    text = description.encode()
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 79,
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(fixed16, (0.9642, 1.0, 0.8249))),
        **{
            name: b"XYZ \0\0\0\0" + b"".join(map(fixed16, xyz))
            for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)
        },
        **{
            name: b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
            for name in (b"rTRC", b"gTRC", b"bTRC")
        },
    }
    return written_profile(tags, b"RGB ")


def grey_profile(gamma):
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + b"\0" * 79,
        b"wtpt": b"XYZ \0\0\0\0" + b"".join(map(fixed16, (0.9642, 1.0, 0.8249))),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0),
    }
    return written_profile(tags, b"GRAY")


def written_profile(tags, space):
    table, body, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", at + len(body), len(content))
        body += padded
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02100000, b"mntr", space, b"XYZ ")
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + b"".join(map(fixed16, (0.9642, 1.0, 0.8249)))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Adobe RGB (1998), adapted to D50: its columns as published in the specification."""
TO_SRGB = np.array([[3.1339, -1.6169, -0.4906], [-0.9788, 1.9161, 0.0335], [0.0719, -0.2290, 1.4052]])
"""From XYZ (D50) to linear sRGB (Lindbloom)."""


def by_hand(pixels, columns, gamma):
    """Return what a matrix profile says of 8-bit pixels, in sRGB."""
    linear = (pixels / 255) ** gamma @ np.array(columns) @ TO_SRGB.T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_an_embedded_profile_is_applied(kind):
    pixels = scene()
    content = stored(
        Image.fromarray(pixels), kind, icc_profile=matrix_profile(ADOBE), **{"lossless": True} if kind == "WEBP" else {}
    )
    managed = np.asarray(open_photograph(content))

    assert 1.5 > np.abs(managed - by_hand(pixels, ADOBE, 2.19921875)).max()
    assert {
        "converted:icc->sRGB": "its colours are converted from its own colour profile (A wide space) to sRGB"
    } == probe(content).changes


def test_digests_and_duplicates_are_of_pixels_before_the_profile():
    plain = stored(Image.fromarray(scene()), "PNG")
    profiled = stored(Image.fromarray(scene()), "PNG", icc_profile=matrix_profile(ADOBE))

    assert probe(plain).pixel_sha256 == probe(profiled).pixel_sha256
    np.testing.assert_array_equal(grayscale_thumbnail(plain, longest=48), grayscale_thumbnail(profiled, longest=48))


def test_an_srgb_profile_changes_nothing():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = stored(Image.fromarray(scene()), "PNG", icc_profile=srgb)

    np.testing.assert_array_equal(scene(), np.asarray(open_photograph(content)))
    assert {} == probe(content).changes


def test_transparent_places_are_white_under_any_profile():
    layered = np.dstack([scene(), np.where(np.arange(96) < 10, 0, 255) * np.ones((80, 1))]).astype(np.uint8)
    content = stored(Image.fromarray(layered, "RGBA"), "PNG", icc_profile=matrix_profile(ADOBE))
    managed = np.asarray(open_photograph(content))

    assert (managed[:, :10] == 255).all()
    assert 1.5 > np.abs(managed - by_hand(scene(), ADOBE, 2.19921875))[:, 10:].max()


def test_grey_by_its_profile():
    grey = scene()[..., 0]
    content = stored(Image.fromarray(grey), "PNG", icc_profile=grey_profile(1.0))
    managed = np.asarray(open_photograph(content))

    linear = grey / 255
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert 1.5 > np.abs(managed - expected[..., None]).max()
    assert {"converted:icc->sRGB", "converted:L->RGB"} == set(probe(content).changes)


def test_lab_by_its_profile():
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    image = ImageCms.applyTransform(Image.fromarray(scene()), to_lab)
    content = stored(image, "TIFF", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())

    assert 6 > np.abs(np.asarray(open_photograph(content)).astype(int) - scene()).max()


@pytest.mark.parametrize(
    ("profile", "mode", "why"),
    [
        (b"no profile at all", "RGB", "cannot be read"),
        (matrix_profile(ADOBE)[:200], "RGB", "cannot be read"),
        (grey_profile(1.8), "RGB", "is for GRAY, its pixels are RGB"),
        (matrix_profile(ADOBE), "CMYK", "is for RGB, its pixels are CMYK"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored_and_told(profile, mode, why):
    image = Image.fromarray(scene()).convert(mode)
    without, content = (stored(image, "TIFF", **more) for more in ({}, {"icc_profile": profile}))

    assert f"its colour profile {why}; its colours are taken as sRGB" == probe(content).changes["ignored:icc"]
    np.testing.assert_array_equal(np.asarray(open_photograph(without)), np.asarray(open_photograph(content)))


def test_the_name_of_a_profile_is_text_from_outside():
    hostile = "a\x1b[31m\x00" + "b" * 500 + " jane@example.org"
    content = stored(Image.fromarray(scene()), "PNG", icc_profile=matrix_profile(ADOBE, description=hostile))
    detail = probe(content).changes["converted:icc->sRGB"]

    assert detail.isprintable()
    assert "example.org" not in detail
    assert 200 > len(detail)


def deep(bits, kind):
    """Return the scene's grey in `bits` of 16, as a file."""
    return stored(Image.fromarray((scene()[..., 0].astype(np.uint16) << 8) >> (16 - bits)), kind)


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_fewer_bits_than_the_sixteen_they_are_stored_in_are_kept_out(bits, kind):
    with pytest.raises(PhotographError, match="nothing says") as caught:
        probe(deep(bits, kind))
    assert "image_depth" == caught.value.reason


def test_sixteen_bits_are_scaled_not_clipped(shared):
    assert 1 >= np.abs(np.asarray(open_photograph(deep(16, "PNG"))).astype(int)[..., 0] - scene()[..., 0]).max()
    path = shared / "hostile" / "images" / "12_gray16.png"
    with Image.open(path) as raw:
        expected = np.asarray(raw, dtype=float).mean() / 257
    assert expected == pytest.approx(np.asarray(open_photograph(path.read_bytes())).mean(), abs=1)


def png_of_48_bits(pixels):
    """Write (rows, columns, 3) uint16 as PNG by hand: Pillow cannot."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows, columns, _ = pixels.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", columns, rows, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_colours_with_fewer_bits_than_sixteen_are_kept_out_too():
    full = png_of_48_bits(scene().astype(np.uint16) * 257)
    np.testing.assert_array_equal(scene(), np.asarray(open_photograph(full)))

    with pytest.raises(PhotographError, match="uses 12: ") as caught:
        open_photograph(png_of_48_bits(scene().astype(np.uint16) * 16))
    assert "image_depth" == caught.value.reason


@pytest.mark.parametrize(
    ("scale", "tags", "what"),
    [
        (1 / 255, {}, "1 is taken as white"),
        (1000 / 255, {341: 1000.0}, "1000 is taken as white"),
    ],
)
def test_floats_are_scaled_where_white_is_known(scale, tags, what):
    grey = scene()[..., 0]
    content = stored(Image.fromarray((grey * scale).astype(np.float32)), "TIFF", tiffinfo=tags)

    assert 1 >= np.abs(np.asarray(open_photograph(content)).astype(int) - grey[..., None]).max()
    assert f"its pixels are converted to RGB; {what}" == probe(content).changes["converted:F->RGB"]


@pytest.mark.parametrize("worst", [200.0, -0.1, float("nan"), float("inf")])
def test_floats_are_kept_out_where_white_is_not_known(worst):
    numbers = (scene()[..., 0] / 255).astype(np.float32)
    numbers[0, 0] = worst
    with pytest.raises(PhotographError) as caught:
        probe(stored(Image.fromarray(numbers), "TIFF"))
    assert "image_depth" == caught.value.reason


def test_thirty_two_bits_are_taken_as_sixteen_or_kept_out():
    grey = scene()[..., 0].astype(np.int32)
    as_16 = stored(Image.fromarray(grey * 257), "TIFF")
    assert 1 >= np.abs(np.asarray(open_photograph(as_16)).astype(int)[..., 0] - grey).max()

    with pytest.raises(PhotographError, match="nothing says what is white"):
        probe(stored(Image.fromarray(grey * 2**22), "TIFF"))


def test_white_is_zero_where_the_file_says_so():
    content = stored(Image.fromarray(65535 - scene()[..., 0].astype(np.uint16) * 257), "TIFF", tiffinfo={262: 0})
    with Image.open(io.BytesIO(content)) as raw:
        said = raw.tag_v2[262]
    if said == 0:
        assert 1 >= np.abs(np.asarray(open_photograph(content)).astype(int)[..., 0] - scene()[..., 0]).max()


def isobmff(brand, *compatible):
    brands = brand + b"\0\0\0\0" + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + b"\0" * 64


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (isobmff(b"isom", b"iso2", b"mp41"), "video"),
        (isobmff(b"qt  "), "video"),
        (isobmff(b"crx "), "camera raw (CR3)"),
        (b"\x1aE\xdf\xa3" + b"\0" * 64, "video"),
        (b"RIFF\0\0\0\0AVI LIST" + b"\0" * 64, "video"),
        (b"\xff\x0a" + b"\0" * 64, "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 64, "JPEG XL"),
        (b"\0" * 128 + b"DICM" + b"\0" * 64, "DICOM"),
        (b"8BPS" + b"\0" * 64, "Photoshop"),
        (b"%PDF-1.7" + b"\0" * 64, "PDF"),
        (b"II\x2a\0\x10\0\0\0CR\x02\0" + b"\0" * 64, "camera raw (CR2)"),
    ],
)
def test_a_format_that_is_not_read_is_named_with_the_way_out(content, name):
    with pytest.raises(PhotographError, match=f"a file in the format {name.partition(' (')[0]}") as caught:
        probe(content)
    assert f"image_format:{name}" == caught.value.reason
    assert "save it as JPEG or PNG" in caught.value.problem or name == "video"


@pytest.mark.parametrize(("kind", "suffix"), [("AVIF", ".avif"), ("JPEG2000", ".jp2"), ("MPO", ".jpg")])
def test_avif_jpeg_2000_and_mpo_are_read(kind, suffix):
    content = stored(Image.fromarray(scene()), kind, quality=100 if kind != "JPEG2000" else None)

    assert 30 > np.abs(np.asarray(open_photograph(content)).astype(int) - scene()).max()
    assert "mime_mismatch" not in probe(content, suffix).changes


def test_heic_is_read_with_its_extra():
    pytest.importorskip("pi_heif")
    image = open_photograph(base64.b64decode(HEIC))

    assert (64, 48) == image.size
    assert 3 > np.abs(np.asarray(image).astype(int) - (200, 141, 111)).max()


def test_heic_names_its_extra_where_that_is_absent(monkeypatch, request):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    formats.cache_clear()
    request.addfinalizer(formats.cache_clear)
    with pytest.raises(PhotographError, match=r"install lesion-toolkit\[heic\], or save it as JPEG or PNG") as caught:
        probe(base64.b64decode(HEIC))
    assert "image_format:HEIC" == caught.value.reason


def test_public_case_08_colours_are_managed_and_depth_is_told(shared, tmp_path, key):
    folder = shared / "public_cases" / "08_colour_and_depth"
    workspace = Workspace(tmp_path / "w")
    study = load_study(folder / "study.toml")
    parse(workspace, study, key, [folder / "export.ndjson"], images=folder / "images")

    means = {
        name: np.asarray(open_photograph((folder / "images" / name).read_bytes())).mean(axis=(0, 1))
        for name in ("P0001.jpg", "P0002.jpg")
    }
    assert means["P0001.jpg"] == pytest.approx((205, 144, 112), abs=1)
    assert means["P0002.jpg"] == pytest.approx((211, 147, 116), abs=1)
    issues = workspace.rows("select external_id, reason from ingest_issues inner join images using (image_id)")
    reasons = {(row["external_id"], row["reason"]) for row in issues}
    assert {("P0001.jpg", "converted:icc->sRGB"), ("P0002.jpg", "converted:icc->sRGB")} <= reasons
    assert {("P0010.tif", "converted:F->RGB"), ("P0012.png", "image_depth")} <= reasons
    assert not [reason for _, reason in reasons if "Error" in reason]
