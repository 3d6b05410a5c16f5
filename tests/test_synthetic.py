import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from toolkit.errors import ToolkitError
from toolkit.shipped import shipped
from toolkit.synthetic import Sample, sample
from toolkit.synthetic.plan import CLASSES, Block, blocks, class_counts, plan

SMALL = 24


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Sample:
    return sample(tmp_path_factory.mktemp("small"), cases=SMALL)


@pytest.fixture(scope="module")
def rows(small) -> list[dict[str, Any]]:
    rows = _rows(small)

    assert SMALL <= len(rows)
    return rows


def _rows(study: Sample) -> list[dict[str, Any]]:
    return [json.loads(line) for line in study.export.read_text(encoding="utf-8").splitlines()]


def _labels(row: dict[str, Any]) -> list[dict[str, Any]]:
    (project,) = (each for each in row["projects"].values() if each["name"] == "pigmented-lesions")
    return project["labels"]


def _answered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [label for row in rows for label in _labels(row) if _class_names(label)]


def _class_names(label: dict[str, Any]) -> list[str]:
    """Return the classes a label gives, in the order of its boxes."""
    annotations = label["annotations"]
    asked = [
        *annotations["classifications"],
        *(answer for thing in annotations["objects"] for answer in thing["classifications"]),
    ]
    return [answer["radio_answer"]["value"] for answer in asked if answer["name"] == "diagnosis"]


def _values(row: dict[str, Any], name: str) -> list[Any]:
    return [field["value"] for field in row["metadata_fields"] if field["schema_name"] == name]


def _patient(row: dict[str, Any]) -> str:
    return " ".join(_values(row, "patient_id"))


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(small, tmp_path):
    again = sample(tmp_path / "again", cases=SMALL)

    assert _bytes(small.folder) == _bytes(again.folder)


def test_another_seed_gives_other_photographs(small, tmp_path):
    other = sample(tmp_path / "other", cases=SMALL, seed=8)

    one, two = ({path.read_bytes() for path in folder.iterdir()} for folder in (small.images, other.images))

    assert SMALL <= min(len(one), len(two))
    assert not one & two


def test_the_study_file_is_the_demo_study_without_its_pinned_split(small):
    pinned = 'pinned = "demo.split"\n'

    assert (shipped("manifests") / "demo.toml").read_text() == small.study.read_text().replace(
        "test = 0.2\n", f"test = 0.2\n{pinned}"
    )
    assert not (small.folder / "demo.split").exists()


@pytest.mark.parametrize("photographs", [True, False])
def test_progress_counts_every_case(tmp_path, photographs):
    calls = []
    result = sample(tmp_path, cases=16, photographs=photographs, progress=lambda *call: calls.append(call))

    assert ("generating cases" if photographs else "writing cases", 16, 16) == calls[-1]
    assert result.photographs + 1 == len(calls)
    assert sorted(calls) == calls


def test_the_export_is_the_same_without_photographs(small, tmp_path):
    bare = sample(tmp_path, cases=SMALL, photographs=False)

    assert small.export.read_bytes() == bare.export.read_bytes()
    assert not bare.images.exists()


def test_every_row_has_its_photograph_and_its_size(small, rows):
    sizes = {path.name: _pixels(path).shape[1::-1] for path in small.images.iterdir()}

    assert small.photographs == len(rows) == len(sizes)
    for row in rows:
        media = row["media_attributes"]
        assert sizes[row["data_row"]["external_id"]] == (media["width"], media["height"])


def test_every_row_has_the_shape_of_an_export_v2(rows):
    for row in rows:
        assert {"data_row", "media_attributes", "attachments", "metadata_fields", "projects"} == set(row)
        assert {"id", "global_key", "external_id", "row_data", "details"} == set(row["data_row"])
        assert row["data_row"]["row_data"].startswith("https://storage.example.org/")
        keys = {frozenset(field) for field in row["metadata_fields"]}
        assert {frozenset(("schema_id", "schema_name", "schema_kind", "value"))} == keys
    for row in rows:
        for label in _labels(row):
            assert {"objects", "classifications", "relationships"} == set(label["annotations"])
            assert label["label_details"]["created_by"].endswith("@example.org")


def test_every_id_is_used_once_and_looks_like_one_of_labelbox(rows):
    ids = [row["data_row"]["id"] for row in rows] + [label["id"] for row in rows for label in _labels(row)]

    assert len(ids) == len(set(ids))
    assert all(len(one) == 25 and one.startswith("c") and one.isalnum() for one in ids)


def test_metadata_says_its_kind(rows):
    kinds = {field["schema_name"]: field["schema_kind"] for field in rows[0]["metadata_fields"]}

    assert {
        "patient_id": "CustomMetadataString",
        "lesion_id": "CustomMetadataString",
        "age": "CustomMetadataNumber",
        "sex": "CustomMetadataEnum",
        "anatomical_site": "CustomMetadataEnum",
        "fitzpatrick": "CustomMetadataNumber",
        "capture_site": "CustomMetadataString",
        "captured_at": "CustomMetadataDateTime",
    } == kinds


def test_two_lesions_are_answered_inside_their_boxes_and_one_for_the_photograph(rows):
    counts = {1: 0, 2: 0}
    for label in _answered(rows):
        objects, whole = label["annotations"]["objects"], label["annotations"]["classifications"]
        nested = sum(len(thing["classifications"]) for thing in objects)
        asked = [answer["name"] for answer in whole]
        counts[len(_class_names(label))] += 1

        assert (len(objects) == nested == 2) != ("diagnosis" in asked and nested == 0)

    assert counts[1] > counts[2] >= 1


def test_some_photographs_are_queued_some_were_skipped_and_some_left_empty(rows):
    labels = [label for row in rows for label in _labels(row)]
    skipped = [label["performance_details"]["skipped"] for label in labels if not _class_names(label)]

    assert 1 == sum(not _labels(row) for row in rows)
    assert [False, True] == sorted(skipped)


def test_no_file_name_holds_a_patient_id(rows):
    patients = {_patient(row) for row in rows}
    for row in rows:
        names = f"{row['data_row']['external_id']} {row['data_row']['row_data']} {row['data_row']['global_key']}"
        assert not any(patient in names or patient.removeprefix("P-") in names for patient in patients)


def test_a_lesion_is_photographed_once_or_more_and_its_number_says_nothing_of_the_patient():
    photographs = plan(1, Block(0, 980, 1), first=0)
    lesions = [(each.person.number, lesion.number) for each in photographs for lesion in each.lesions]
    names = {lesion: set() for lesion in lesions}
    for each in photographs:
        for lesion in each.lesions:
            names[each.person.number, lesion.number].add((lesion.class_name, lesion.anatomical_site))

    assert 20 < len(lesions) - len(names) < 200
    assert {1} == {len(known) for known in names.values()}
    assert sum(number == 1 for _, number in names) == len({person for person, _ in lesions})


def test_classes_keep_the_proportions_of_the_paper():
    assert {name: profile.photographs for name, profile in CLASSES.items()} == class_counts(979)


@pytest.mark.parametrize("cases", [16, 17, 50, 980])
def test_every_class_has_its_cases_and_at_least_two_patients(cases):
    labelled = [each for each in plan(1, Block(0, cases, 1), first=0) if each.state == "labelled"]
    shown = [(name, each.person.patient_id) for each in labelled for name in each.class_names]

    assert cases == len(shown) == sum(class_counts(cases).values())
    for class_name in CLASSES:
        assert class_counts(cases)[class_name] == sum(name == class_name for name, _ in shown)
        assert len({patient for name, patient in shown if name == class_name}) >= 2


def test_patients_have_one_to_five_photographs_and_sometimes_two_classes():
    photographs = plan(1, Block(0, 980, 1), first=0)
    of_patient: dict[str, list[str]] = {}
    for each in photographs:
        of_patient.setdefault(each.person.patient_id, []).extend(each.class_names[:1])

    assert {1, 2, 3, 4, 5} == {len(names) for names in of_patient.values()}
    assert 550 < len(of_patient) < 650
    assert 0.02 < np.mean([len(each.class_names) == 2 for each in photographs]) < 0.05
    assert 0.01 < np.mean([len(set(names)) > 1 for names in of_patient.values()]) < 0.2


@pytest.mark.parametrize(
    ("cases", "stage", "expected"), [(16, 1, [16]), (16, 3, [16, 16]), (2001, 3, [667] * 3 + [500])]
)
def test_blocks_hold_every_case_and_the_third_stage_adds_a_quarter(cases, stage, expected):
    assert expected == [block.cases for block in blocks(cases, stage)]


def test_patients_of_different_blocks_have_different_numbers():
    first, second = (
        {int(each.person.patient_id.removeprefix("P-")) for each in plan(1, Block(number, 600, 1), first=0)}
        for number in (0, 1)
    )

    assert 300 < len(first)
    assert 1000 <= min(first) <= max(first) < min(second)


def test_sites_differ_in_whom_they_see_and_in_their_cameras():
    photographs = plan(1, Block(0, 980, 1), first=0)
    north = [each for each in photographs if each.person.capture_site == "clinic-north"]
    south = [each for each in photographs if each.person.capture_site == "clinic-south"]

    def share(of, name):
        return np.mean([name in each.class_names for each in of])

    assert len(north) > 400
    assert len(south) > 300
    assert share(north, "malignant_melanoma") > 1.5 * share(south, "malignant_melanoma")
    assert share(south, "melasma") > 1.3 * share(north, "melasma")
    assert {(288, 240)} == {each.size for each in north}
    assert {(240, 180)} == {each.size for each in south}


def test_too_few_cases_are_refused_with_the_least_number(tmp_path):
    with pytest.raises(ToolkitError, match="at least 16"):
        sample(tmp_path, cases=15)

    assert not list(tmp_path.iterdir())


class Colours(NamedTuple):
    crop: np.ndarray
    whole: np.ndarray
    class_names: np.ndarray
    patients: np.ndarray


def _colours(study: Sample) -> Colours:
    means = []
    rows = {row["data_row"]["global_key"]: row for row in _rows(study)}
    for lesion in csv.DictReader((study.truth / "lesions.csv").read_text().splitlines()):
        row = rows[lesion["global_key"]]
        pixels = _pixels(study.images / row["data_row"]["external_id"])
        left, top, width, height = (int(float(lesion[side])) for side in ("left", "top", "width", "height"))
        crop = pixels[top : top + height, left : left + width].mean(axis=(0, 1))
        means.append((crop, pixels.mean(axis=(0, 1)), lesion["class_name"], lesion["person"]))
    return Colours(*(np.array(column) for column in zip(*means, strict=True)))


def test_mean_colour_alone_does_not_tell_the_class(drawn_sample):
    colours = _colours(drawn_sample)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for name, means in [
        ("crop", colours.crop),
        ("photograph", colours.whole),
        ("both", np.hstack([colours.crop, colours.whole])),
    ]:
        predicted = cross_val_predict(model, means, colours.class_names, groups=colours.patients, cv=folds)
        recall = recall_score(colours.class_names, predicted, average="macro")
        print(f"macro recall of mean colour, {name}: {recall:.3f}")

        assert recall < 0.60


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(ToolkitError, match="not empty"):
        sample(tmp_path, cases=16)
    assert ["mine.txt"] == [path.name for path in tmp_path.iterdir()]
