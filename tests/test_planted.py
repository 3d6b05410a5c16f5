"""A second opinion on the answer sheet of a synthetic study: read again from the export and the photographs alone."""

import csv
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from toolkit.synthetic import sample

STAGES, TABLES = (1, 2, 3), ("planted", "lesions", "annotators")
ORIENTATION, DESCRIPTION, MAKE, GPS = 0x0112, 0x010E, 0x010F, 0x8825
NAME = re.compile(r"[A-Z][a-z]+, [A-Z][a-z]+")
SAME = 0.975  # unlisted pairs reach 0.957, listed ones 0.994; a lesion taken twice has other light, skin and camera
ROW_KINDS = ("missing_patient", "contradictory_patient", "patient_spelling", "exif_rotated", "name_in_metadata")
LABEL_KINDS = ("box_over_edge", "box_on_wrong_lesion", "unknown_class", "wrong_label")
FILE_KINDS = ("exif_rotated", "gps_in_exif", "name_in_exif")
CHANGES = ("relabelled", "deleted_label", "moved_box")
Row = dict[str, Any]


class Study:
    def __init__(self, folder: Path) -> None:
        self.images, self.text = folder / "images", (folder / "export.ndjson").read_text(encoding="utf-8")
        self.rows = {row["data_row"]["global_key"]: row for row in map(json.loads, self.text.splitlines())}
        self.labels = {label["id"]: (key, label) for key, row in self.rows.items() for label in _labels(row)}
        self.planted, lesions, self.annotators = (
            [SimpleNamespace(**row, key=row.get("global_key")) for row in csv.DictReader(text.splitlines())]
            for text in ((folder / "truth" / f"{name}.csv").read_text(encoding="utf-8") for name in TABLES)
        )
        self.lesions = {key: [lesion for lesion in lesions if lesion.key == key] for key in self.rows}
        self.meant = {key: [it for it in lesions if it.meant == "true"] for key, lesions in self.lesions.items()}
        self.person = {lesion.key: lesion.person for lesion in lesions}
        self.classes = {lesion.class_name for lesion in lesions}

    def listed(self, *kinds: str) -> list[SimpleNamespace]:
        rows = [row for row in self.planted if row.kind.startswith(kinds)]

        assert rows, f"nothing is listed of {kinds}"
        return rows

    def is_known(self, key: str) -> bool:
        return all(value in self.classes for label in _labels(self.rows[key]) for value in _values(label))

    def said(self, key: str, label: Row) -> dict[str, str]:
        """What a label says of each lesion, by the number of the lesion."""
        meant, boxes = self.meant[key], [box for box, _ in _answers(label)]
        answered = [max(meant, key=lambda it, box=box: _overlap(box, vars(it))) if box else meant[0] for box in boxes]
        return {lesion.lesion: value for lesion, value in zip(answered, _values(label), strict=True)}


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> dict[int, Study]:
    folder = tmp_path_factory.mktemp("planted")
    for stage in STAGES:
        sample(folder / str(stage), cases=980, seed=7, stage=stage, photographs=False)
    return {stage: Study(folder / str(stage)) for stage in STAGES}


@pytest.fixture(params=STAGES)
def study(request, studies) -> Study:
    return studies[request.param]


@pytest.fixture(scope="module")
def drawn(drawn_sample) -> Study:
    """A smaller study with its photographs; `make soak` draws the large one."""
    return Study(drawn_sample.folder)


@pytest.fixture(scope="module")
def photographs(drawn) -> dict[str, SimpleNamespace]:
    taken = {}
    for key, row in drawn.rows.items():
        path = drawn.images / row["data_row"]["external_id"]
        with Image.open(path) as image:
            shown, exif = ImageOps.exif_transpose(image).convert("L"), image.getexif()
            taken[key] = SimpleNamespace(content=path.read_bytes(), exif=exif, stored=image.convert("L"), shown=shown)
    return taken


def _labels(row: Row) -> list[Row]:
    return [label for it in row["projects"].values() if it["name"] == "pigmented-lesions" for label in it["labels"]]


def _boxes(label: Row) -> dict[str, Row]:
    things = label["annotations"]["objects"]
    return {thing["feature_id"]: thing["bounding_box"] for thing in things if thing["name"] == "lesion_roi"}


def _answers(label: Row) -> list[tuple[Row | None, Row]]:
    """Each answer to the study's question, with the box it is nested in."""
    places = [(None, label["annotations"]["classifications"])]
    places += [(thing["bounding_box"], thing["classifications"]) for thing in label["annotations"]["objects"]]
    return [(box, each["radio_answer"]) for box, given in places for each in given if each["name"] == "diagnosis"]


def _values(label: Row) -> list[str]:
    return [answer["value"] for _, answer in _answers(label)]


def _corners(box: Row) -> np.ndarray:
    left, top, width, height = (float(box[side]) for side in ("left", "top", "width", "height"))
    return np.array([left, top, left + width, top + height])


def _overlap(one: Row, other: Row) -> float:
    this, that = _corners(one), _corners(other)
    shared = np.prod(np.maximum(np.minimum(this, that)[2:] - np.maximum(this, that)[:2], 0))
    return shared / (np.prod(this[2:] - this[:2]) + np.prod(that[2:] - that[:2]) - shared)


def _overlaps(label: Row, lesions: list[SimpleNamespace]) -> list[float]:
    return [max(_overlap(box, vars(lesion)) for lesion in lesions) for box in _boxes(label).values()]


def _spellings(row: Row) -> list[str]:
    fields = [field for field in row["metadata_fields"] if field["schema_name"] == "patient_id"]
    return [field["value"] for field in fields if field["value"].strip()]


def _normal(patient: str) -> str:
    return unicodedata.normalize("NFKC", patient).strip().casefold()


def _patients(row: Row) -> set[str]:
    return set(map(_normal, _spellings(row)))


def _row_faults(row: Row) -> Iterator[tuple[str, str, str]]:
    spellings, turned = _spellings(row), row["media_attributes"]["exif_rotation"]
    if not spellings:
        yield "missing_patient", "", ""
    if len(_patients(row)) > 1:
        yield "contradictory_patient", "", " and ".join(spellings)
    for spelling in spellings:
        if not re.fullmatch("P-[0-9]+", spelling):
            yield "patient_spelling", "", f"'{spelling}' is {_normal(spelling).upper()}"
    if turned != "1":
        yield "exif_rotated", "", f"orientation {turned}"
    for name in NAME.findall(json.dumps(row)):
        yield "name_in_metadata", "", name


def _label_faults(study: Study, key: str) -> Iterator[tuple[str, str, str]]:
    media = study.rows[key]["media_attributes"]
    for label in _labels(study.rows[key]):
        for corners in map(_corners, _boxes(label).values()):
            if corners.min() < 0 or corners[2] > media["width"] or corners[3] > media["height"]:
                yield "box_over_edge", label["id"], ""
        if min(_overlaps(label, study.meant[key]), default=1) < 0.5:
            yield "box_on_wrong_lesion", label["id"], ""
        for _, answer in _answers(label):
            if answer["value"] not in study.classes:
                yield "unknown_class", label["id"], answer["name"]


def _majority_faults(study: Study, key: str) -> Iterator[tuple[str, str, str]]:
    said = [study.said(key, label) for label in _labels(study.rows[key])] if study.is_known(key) else []
    for number, truth in ((lesion.lesion, lesion.class_name) for lesion in study.meant[key]):
        ranked = Counter(each[number] for each in said if number in each).most_common()
        leading = [name for name, votes in ranked if votes == ranked[0][1]]
        if len(leading) == 1 and leading != [truth]:
            yield "wrong_label", "", f"lesion {number} is said to be {leading[0]}, is {truth}"


def test_the_faults_listed_are_the_faults_found(study):
    rows = study.listed(*ROW_KINDS, *LABEL_KINDS)
    listed = [(it.kind, it.key, "" if it.kind == "wrong_label" else it.label_id, it.detail) for it in rows]
    found = [
        (kind, key, label, detail)
        for key, row in study.rows.items()
        for kind, label, detail in chain(_row_faults(row), _label_faults(study, key), _majority_faults(study, key))
    ]

    assert sorted(found) == sorted(listed)


def test_a_label_listed_shows_the_fault_listed(study):
    for row in study.listed("wrong_label", "box_on_wrong_lesion"):
        key, label = study.labels[row.label_id]
        said = {f"lesion {number} is said to be {name}" for number, name in study.said(key, label).items()}

        assert row.key == key
        if row.kind == "wrong_label":
            assert row.detail.split(", ")[0] in said
        else:
            assert [0] == _overlaps(label, study.meant[key])
            assert 0.7 < min(_overlaps(label, [it for it in study.lesions[key] if it.meant == "false"]))


def test_the_people_with_two_patient_ids_are_the_ones_listed(study):
    ids = {key: (study.person[key], *_patients(row)) for key, row in study.rows.items() if len(_patients(row)) == 1}
    listed = study.listed("patient_two_ids")
    twice = [person for person, count in Counter(person for person, _ in set(ids.values())).items() if count > 1]

    assert len(set(ids.values())) == len({patient for _, patient in ids.values()})
    assert sorted(twice) == sorted({study.person[row.key] for row in listed})
    assert {row.key for row in listed} == {key for key in ids if ids[key] in {ids[row.key] for row in listed}}
    for row in listed:
        this, other = ((study.person[row.key], _normal(patient)) for patient in row.detail.split(" is "))
        assert (this, other) == (ids[row.key], ids[row.other_global_key])


def test_spellings_and_copies_are_of_the_patients_they_are_said_to_be_of(study):
    spelt = {(study.person[key], each) for key, row in study.rows.items() for each in _spellings(row)}

    assert {(study.person[row.key], row.detail.split(" is ")[1]) for row in study.listed("patient_spelling")} <= spelt
    for row in study.listed("duplicate_"):
        (this,), (other,) = _patients(study.rows[row.key]), _patients(study.rows[row.other_global_key])
        assert (this == other) is row.kind.endswith("_within")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 3)])
def test_the_changes_listed_are_the_changes_found(studies, before, after):
    old, new = studies[before].labels, studies[after].labels
    both = [(it, old[it][1], new[it][1]) for it in old if it in new]
    answered = {it for it, one, other in both if _values(one) != _values(other)}
    moved = {it for it, one, other in both if _boxes(one) != _boxes(other)}
    added = {it: key for it, (key, _) in new.items() if key in studies[before].rows and it not in old}
    rows = [row for row in studies[after].listed(*CHANGES, "newly_labelled") if row.stage == str(after)]
    labelled = [row.key for row in rows if row.kind == "newly_labelled"]

    for kind, found in zip(CHANGES, (answered, old.keys() - new.keys(), moved), strict=True):
        assert sorted(found) == sorted(row.label_id for row in rows if row.kind == kind)
    assert answered | moved == {it for it, one, other in both if one["annotations"] != other["annotations"]}
    assert sorted(set(added.values())) == sorted(labelled)
    assert not any(key in labelled for key, _ in old.values())
    assert all(row.key == (new | old)[row.label_id][0] for row in rows)


def test_a_review_puts_right_the_label_it_changes(studies):
    for row in studies[2].listed("relabelled", "moved_box"):
        (key, old), (_, new) = (studies[stage].labels[row.label_id] for stage in (1, 2))
        before, after = studies[1].said(key, old), studies[2].said(key, new)
        changed = [f"from {before[number]} to {after[number]}" for number in after if after[number] != before[number]]

        assert changed == ([row.detail] if row.kind == "relabelled" else [])
        assert not changed or after == {it.lesion: it.class_name for it in studies[2].meant[key]}
        assert _boxes(old).keys() == _boxes(new).keys()
        assert 0.5 < min(_overlaps(new, studies[2].meant[key]), default=1)


def test_new_patients_are_the_people_no_earlier_stage_knows(studies):
    people = [set(studies[stage].person.values()) for stage in STAGES]
    earlier = set().union(*map(_patients, chain(studies[1].rows.values(), studies[2].rows.values())))
    listed = [row.key for row in studies[3].listed("new_patient")]

    assert people[0] == people[1]
    assert sorted(people[2] - people[1]) == sorted(studies[3].person[key] for key in listed)
    assert not earlier & set().union(*(_patients(studies[3].rows[key]) for key in listed))
    assert list(studies[1].rows) == list(studies[2].rows) == list(studies[3].rows)[: len(studies[1].rows)]


def test_merged_patients_are_the_ids_that_changed(studies):
    one, two, three = ({key: _spellings(studies[stage].rows[key]) for key in studies[1].rows} for stage in STAGES)
    listed = studies[3].listed("patient_merge")

    assert one == two
    assert sorted(key for key in two if two[key] != three[key]) == sorted(row.key for row in listed)
    for row in listed:
        assert row.detail.split(" is now ") == two[row.key] + three[row.key]
        assert 1 == len({(*three[key], studies[3].person[key]) for key in (row.key, row.other_global_key)})


@pytest.mark.parametrize("stage", [2, 3])
def test_a_row_bears_the_stage_whose_sheet_first_listed_it(studies, stage):
    sheets = [studies[each].planted for each in (stage - 1, stage)]
    before, after = ({(row.stage, row.kind, row.key, row.detail) for row in sheet} for sheet in sheets)

    assert {row for row in before | after if row[0] == str(stage)} == after - before
    assert {row[1] for row in before - after} <= {"wrong_label", "box_on_wrong_lesion", "patient_two_ids"}


def test_the_files_say_in_exif_what_is_listed(drawn, photographs):
    found = []
    for key, it in photographs.items():
        turned, name = it.exif.get(ORIENTATION, 1), it.exif.get(DESCRIPTION)
        found += [("exif_rotated", key, f"orientation {turned}")] if turned != 1 else []
        found += [("gps_in_exif", key, "")] if it.exif.get_ifd(GPS) else []
        found += [("name_in_exif", key, name)] if name else []

    assert sorted(found) == sorted((row.kind, row.key, row.detail) for row in drawn.listed(*FILE_KINDS))


def test_sizes_and_boxes_are_those_of_the_displayed_photograph(drawn, photographs):
    lesions = [drawn.meant[row.key][0] for row in drawn.listed("exif_rotated")]
    seen = [it for it in lesions if it.class_name != "ephelis"]  # ephelides are as bright as the skin around them
    shown, stored = ([_darker(getattr(photographs[it.key], as_), it) for it in seen] for as_ in ("shown", "stored"))
    sizes = {key: row["media_attributes"] for key, row in drawn.rows.items()}

    assert all((sizes[key]["width"], sizes[key]["height"]) == it.shown.size for key, it in photographs.items())
    assert 3 <= len(seen)
    assert 10 < min(shown)
    assert 2 * np.mean(stored) < np.mean(shown)


def _darker(image: Image.Image, lesion: SimpleNamespace) -> float:
    box = image.crop(tuple(_corners(vars(lesion)).astype(int)))
    return float(np.mean(image) - np.mean(_middle(box, (box.width / 2, box.height / 2))))


def _middle(image: Image.Image, size: tuple[float, float]) -> Image.Image:
    left, top = ((whole - round(part)) // 2 for whole, part in zip(image.size, size, strict=True))
    return image.crop((left, top, left + round(size[0]), top + round(size[1])))


def _turned(image: Image.Image, degrees: float) -> Image.Image:
    return _middle(image.rotate(degrees, Image.Resampling.BICUBIC), (image.width * 0.7, image.height * 0.7))


def _alike(one: Image.Image, other: Image.Image) -> float:
    return float(np.corrcoef(np.ravel(one), np.ravel(other))[0, 1])


def test_every_listed_copy_is_a_copy(drawn, photographs):
    for row in drawn.listed("duplicate_"):
        kind = row.kind.removeprefix("duplicate_").rpartition("_")[0]
        this, other = photographs[row.key].shown, photographs[row.other_global_key].shown
        kept = 1 - int(kind.removeprefix("cropped_")) / 100 if kind.startswith("cropped_") else 1
        sizes = np.array(this.size) - np.array(other.size) * kept
        if kind == "rotated_5":
            back = {angle: _alike(_turned(this, -angle), _turned(other, 0)) for angle in (-5, 0, 4, 5, 6)}
            assert 5 == max(back, key=back.get)
            this, other = _turned(this, -5), _turned(other, 0)
        other = ImageOps.mirror(other) if kind == "flipped" else _middle(other, this.size)

        assert abs(sizes).max() <= (0 if kept == 1 else 1)
        assert SAME < _alike(this, other)
        assert (kind == "same_bytes") is (photographs[row.key].content == photographs[row.other_global_key].content)


def test_no_copy_is_unlisted(drawn, photographs):
    keys, found = list(photographs), set()
    for these, others in _views([it.shown for it in photographs.values()]):
        alike = these @ others.T
        np.fill_diagonal(alike, 0)
        found |= {frozenset((keys[this], keys[other])) for this, other in np.argwhere(alike > SAME)}
    pairs = [sorted((row.key, row.other_global_key)) for row in drawn.listed("duplicate_")]

    assert sorted(map(sorted, found)) == sorted(pairs)


def _views(images: list[Image.Image]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Unit thumbnails whose product correlates each photograph, a change of it undone, with every other one."""
    whole = _thumbnails(images)
    yield whole, whole
    yield _thumbnails([ImageOps.mirror(image) for image in images]), whole
    for kept in (0.95, 0.9):
        yield whole, _thumbnails([_middle(image, (image.width * kept, image.height * kept)) for image in images])
    yield _thumbnails([_turned(image, -5) for image in images]), _thumbnails([_turned(image, 0) for image in images])


def _thumbnails(images: list[Image.Image]) -> np.ndarray:
    small = np.array([np.ravel(image.resize((32, 32), Image.Resampling.BOX)) for image in images], np.float32)
    small -= small.mean(axis=1, keepdims=True)
    return small / np.linalg.norm(small, axis=1, keepdims=True)


def test_every_kind_is_planted_often_enough(studies):
    one, two, three = (Counter(row.kind for row in studies[stage].planted) for stage in STAGES)
    cases = [sum(map(len, studies[stage].meant.values())) for stage in STAGES]
    copies = {row.kind for row in studies[1].listed("duplicate_")}

    assert 12 == len(copies)
    assert 8 <= min(one[kind] for kind in (*copies, *ROW_KINDS, *LABEL_KINDS, *FILE_KINDS, "patient_two_ids"))
    assert 8 <= min(two[kind] for kind in CHANGES)
    assert 4 <= two["newly_labelled"]
    assert 8 <= three["patient_merge"]
    assert 100 <= three["new_patient"]
    assert 1.22 * cases[0] < cases[2] < 1.28 * cases[1]


def test_the_annotators_are_as_often_right_as_counted(study):
    readings = defaultdict(list)
    for key, label in study.labels.values():
        if study.is_known(key):
            truth = {lesion.lesion: lesion.class_name for lesion in study.meant[key]}
            right = [truth[number] == value for number, value in study.said(key, label).items()]
            readings[label["label_details"]["created_by"]] += right

    assert 5 == len(readings) == len(study.annotators)
    for row in study.annotators:
        right, skill = readings[row.annotator], float(row.skill)
        assert [len(right), sum(right)] == [int(row.readings), int(row.right)]
        assert abs(np.mean(right) - skill) < 5 * (skill * (1 - skill) / len(right)) ** 0.5


def test_every_state_of_a_row_and_every_kind_of_answer_occurs(studies):
    rows, labels = studies[1].rows.values(), [label for _, label in studies[1].labels.values()]
    sets = [[label["performance_details"] for label in _labels(row)] for row in rows if _labels(row)]
    several = [each for each in sets if len(each) > 1]
    skipped = {label["id"] for label in labels if label["performance_details"]["skipped"]}
    empty = {label["id"] for label in labels if not any(label["annotations"].values())}
    given = [each for label in labels for each in label["annotations"]["classifications"]]
    nested = [each for label in labels for _, answer in _answers(label) for each in answer["classifications"]]
    kinds = {field["schema_kind"].removeprefix("CustomMetadata") for row in rows for field in row["metadata_fields"]}

    assert {1, 2, 3} == set(map(len, sets))
    assert 0.28 < len(several) / len(sets) < 0.39
    assert all("consensus_score" in each for each in chain.from_iterable(several))
    assert any(each["id"] == each["performance_details"].get("benchmark_reference_label") for each in labels)
    assert len(sets) < len(rows)
    assert set() < skipped < empty
    assert {"radio_answer", "checklist_answers", "text_answer"} <= set().union(*given)
    assert "radio_answer" in set().union(*nested)
    assert 2 == len({project["name"] for row in rows for project in row["projects"].values()})
    assert {"String", "Number", "DateTime", "Enum"} == kinds


def test_every_address_expired(study):
    ends = [int(end) for end in re.findall(r'"https?://[^"]+[?&]Expires=(\d{13})\b', study.text)]

    assert len(study.rows) <= len(ends) == len(re.findall("https?://", study.text))
    assert max(ends) < 1_767_225_600_000  # the first day of 2026


def test_two_sites_have_their_own_size_and_camera(drawn, photographs):
    originals = photographs.keys() - {row.key for row in drawn.listed("duplicate_")}
    of_site = [(drawn.lesions[key][0].capture_site, photographs[key]) for key in originals]
    taken = {(site, it.exif[MAKE], it.shown.size) for site, it in of_site}

    assert [2, 2, 2, 2] == [len(taken), *(len(set(column)) for column in zip(*taken, strict=True))]
