"""Leaks planted in data and in certificates, a hundred seeds of each kind: all are caught, and clean splits pass.

A study holds the patients of all seeds, each with a leak of its own, so that a hundred of them cost one parse.
"""

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

from toolkit.errors import LeakError
from toolkit.files import sha256_of, sha256_of_file, write_json
from toolkit.manifest import Study, load_study
from toolkit.privacy import PseudonymKey
from toolkit.shipped import shipped
from toolkit.stages.audit import audit
from toolkit.stages.parse import parse
from toolkit.stages.split import split, verify
from toolkit.workspace.registry import Workspace

SEEDS = range(100)
PATIENTS = 6
CLASSES = ("nevus", "melasma", "ephelis")
KEY = PseudonymKey(b"a key for tests", published=True)
DEMO = load_study(shipped("manifests") / "demo.toml")


def picture(rng) -> Image.Image:
    """Return a picture that no other patient has."""
    noise = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
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


def group_of(folder: Path, seed: int, kind: str | None) -> list[dict]:
    """Write the photographs of a few patients, and with a kind of leak a further one: `leak` is another of `first`."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(PATIENTS):
        name = "first" if not number else f"p{number}"
        (folder / f"{name}-{seed}.jpg").write_bytes(encoded(picture(rng), "JPEG"))
        answer = label(f"L{name}-{seed}", CLASSES[rng.integers(3)])
        rows.append(row(f"{name}-{seed}", answer, patient=f"P-{seed}-{number}", size=(128, 96)))
    if kind is not None:
        own = {"patient under two spellings": f" p-{seed}-0", "shared lesion": f"P-{seed}-0"}
        first = (folder / f"first-{seed}.jpg").read_bytes()
        other = encoded(picture(rng), "JPEG") if kind in own else copies(kind, first)
        (folder / f"leak-{seed}.jpg").write_bytes(other)
        answer = label(f"Lleak-{seed}", CLASSES[rng.integers(3)])
        rows.append(row(f"leak-{seed}", answer, patient=own.get(kind, f"P-{seed}-x"), size=(128, 96)))
    if kind == "shared lesion":
        field = {"schema_name": "lesion_id", "schema_kind": "CustomMetadataString", "value": "7"}
        for each in (rows[0], rows[-1]):
            each["metadata_fields"].append(field)
    return rows


def cohort(folder: Path, kind: str | None) -> Workspace:
    """Parse and audit a study in which every seed has planted a leak of this kind."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows = [each for seed in SEEDS for each in group_of(images, seed, kind)]
    workspace = Workspace(folder / "workspace")
    parse(workspace, DEMO, KEY, [write(folder / "export.ndjson", rows)], images=images)
    audit(workspace)
    return workspace


def study(seed: int) -> Study:
    chosen = {
        "study": DEMO.study.model_copy(update={"seed": seed}),
        "split": DEMO.split.model_copy(update={"pinned": None}),
    }
    return DEMO.model_copy(update=chosen)


KINDS = (
    "patient under two spellings",
    "shared lesion",
    "same bytes",
    "re-encoded pixels",
    "flipped near-duplicate",
)
APART = """
select image_id
from splits
inner join cases using (case_id)
where split_id = $split_id and (starts_with(image_id, 'first-') or starts_with(image_id, 'leak-'))
qualify count(distinct part) over (partition by string_split(image_id, '-')[2]) > 1
    or count(*) over (partition by string_split(image_id, '-')[2]) <> 2
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_in_the_data_is_kept_in_one_part(tmp_path, kind):
    workspace = cohort(tmp_path, kind)
    for seed in range(5):
        made = split(workspace, study(seed))
        linked = kind in KINDS[2:]

        assert [] == workspace.rows(APART, {"split_id": made.split_id})
        assert (len(SEEDS) if linked else 0) == made.linked_patients


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
    workspace = cohort(tmp_path, None)
    for seed in SEEDS:
        folder = workspace.split(split(workspace, study(seed)).split_id)

        assert verify(folder).cases == PATIENTS * len(SEEDS)
        for field in ("patient_id", "lesion_id", "photograph_digest", "group_id"):
            before = {path: path.read_bytes() for path in folder.iterdir()}
            forged(folder, field)
            with pytest.raises(LeakError, match="in two parts"):
                verify(folder)
            for path, content in before.items():
                path.write_bytes(content)
