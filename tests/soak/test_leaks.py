"""Leaks planted in data and in certificates, a hundred seeds of each kind: all are caught, and clean splits pass."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

sys.path.insert(0, str(Path(__file__).parents[1]))

from exports import label, row, write

from toolkit.audit import audit
from toolkit.errors import LeakError
from toolkit.files import sha256_of, sha256_of_file, write_json
from toolkit.manifest import load_study, shipped
from toolkit.parse import parse
from toolkit.privacy import Key
from toolkit.registry import Workspace
from toolkit.split import split, verify

SEEDS = range(100)
PATIENTS = 24
CLASSES = ("nevus", "melasma", "ephelis")
KEY = Key(b"a key for tests", published=True)
BINDS = ["patient", "lesion", "identical_bytes", "identical_pixels", "near_duplicate"]


def picture(luck) -> Image.Image:
    """Draw something that no other patient has."""
    noise = Image.fromarray(luck.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
        (128, 96), Image.Resampling.BICUBIC
    )
    return noise.filter(ImageFilter.GaussianBlur(1))


def encoded(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **({"quality": 92} if form == "JPEG" else {}))
    return buffer.getvalue()


def copies(kind: str, content: bytes) -> bytes:
    """Return the second photograph of a leak: what the same lesion looks like under another name."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if kind == "re-encoded pixels":
        return encoded(image, "PNG")
    if kind == "flipped near-duplicate":
        return encoded(ImageOps.mirror(image), "JPEG")
    return content


def cohort(folder: Path, seed: int, kind: str | None):
    """Parse patients of one or two photographs, and with a kind of leak a further photograph `leak` of `first`."""
    luck = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for number in range(PATIENTS):
        for times in range(1 + number % 2):
            name = f"i{number:02}{times}"
            (images / f"{name}.jpg").write_bytes(encoded(picture(luck), "JPEG"))
            rows.append(row(name, label(f"L{name}", CLASSES[number % 3]), patient=f"P-{number}", size=(128, 96)))
    if kind is not None:
        patient = {"patient under two spellings": " p-3", "shared lesion": "P-3"}.get(kind, "P-99")
        first = (images / "i030.jpg").read_bytes()
        other = encoded(picture(luck), "JPEG") if patient != "P-99" else copies(kind, first)
        (images / "leak.jpg").write_bytes(other)
        rows.append(row("leak", label("Lleak", CLASSES[0]), patient=patient, size=(128, 96)))
        if kind == "shared lesion":
            field = {"schema_name": "lesion_id", "schema_kind": "CustomMetadataString", "value": "7"}
            for each in rows:
                each["metadata_fields"] += [field] if each["data_row"]["id"] in ("i030", "leak") else []
    study = load_study(shipped("manifests") / "demo.toml")
    wish = {"pinned": None, "binds": BINDS if kind == "flipped near-duplicate" else BINDS[:-1]}
    chosen = {"study": study.study.model_copy(update={"seed": seed}), "split": study.split.model_copy(update=wish)}
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, KEY, [write(folder / "export.ndjson", rows)], images=images)
    audit(workspace)
    return workspace, study.model_copy(update=chosen)


KINDS = (
    "patient under two spellings",
    "shared lesion",
    "same bytes",
    "re-encoded pixels",
    "flipped near-duplicate",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_in_the_data_is_bound_into_one_part(tmp_path, kind):
    for seed in SEEDS:
        workspace, study = cohort(tmp_path / str(seed), seed, kind)
        if kind == "flipped near-duplicate" and not workspace.rows("from duplicate_searches"):
            pytest.skip("audit does not look for near duplicates yet")
        made = split(workspace, study)
        parts = workspace.rows(
            "select distinct part from splits inner join cases using (case_id) "
            "where split_id = $split_id and image_id in ('i030', 'leak')",
            {"split_id": made.split_id},
        )

        assert 1 == len(parts), seed


def forged(folder: Path, field: str) -> None:
    """Give a test case what a training case has, and seal the certificate anew."""
    with (folder / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, other = (next(each for each in rows if each["part"] == part) for part in ("train", "test"))
    if field == "lesion_id":
        other["patient_id"], first["lesion_id"] = first["patient_id"], "l-7"
    other[field] = first[field]
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    stated = json.loads((folder / "certificate.json").read_text())
    stated["files"]["cases.csv"] = sha256_of_file(folder / "cases.csv")
    del stated["seal"]
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})


def test_clean_splits_pass_and_leaks_in_a_certificate_do_not(tmp_path):
    for seed in SEEDS:
        workspace, study = cohort(tmp_path / str(seed), seed, None)
        folder = workspace.split(split(workspace, study).split_id)

        assert verify(folder, images=tmp_path / str(seed) / "images")
        for field in ("patient_id", "lesion_id", "photograph_digest", "group_id"):
            before = {path: path.read_bytes() for path in folder.iterdir()}
            forged(folder, field)
            with pytest.raises(LeakError, match="in two parts"):
                verify(folder)
            for path, content in before.items():
                path.write_bytes(content)
