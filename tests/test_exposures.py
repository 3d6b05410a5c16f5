"""Other exposures of one lesion within a patient: what finds them, what the registry keeps, what a person is told."""

import dataclasses
import io
import re
import shutil
from pathlib import Path

import exports
import exports_of_truth
import numpy as np
import pytest
from exports import label, row
from PIL import Image, ImageDraw

from toolkit.cases import case_id_of
from toolkit.console.results import rendered
from toolkit.csv_files import read_csv
from toolkit.manifest import load_study
from toolkit.photographs.exposures import SETTINGS, agreement, features_of
from toolkit.photographs.keypoints import keypoints
from toolkit.pipeline import rebuild
from toolkit.stages import withdraw as withdrawal
from toolkit.stages.audit import audit, same_lesion
from toolkit.stages.parse import parse
from toolkit.stages.report.audit_page import audit_page
from toolkit.stages.split import split
from toolkit.study_file import StudyFile
from toolkit.synthetic.exposures import SIZE, exposure
from toolkit.synthetic.plan import Block, plan
from toolkit.workspace.registry import Workspace

SEED = 11
CLEAR = ("ephelis", "malignant_melanoma", "acquired_dermal_melanocytosis", "solar_lentigo")
"""Classes whose lesions have a structure of their own."""
KIND = "same_lesion_within_patient"


@pytest.fixture(scope="module")
def files():
    """Two exposures of each of four lesions of a sample."""
    planned = plan(SEED, Block(0, 100, 1), first=0)
    lesions = [next(each for each in planned if each.class_names[:1] == (name,)) for name in CLEAR]
    return [[exposure(each, number, seed=SEED) for number in (0, 1)] for each in lesions]


@pytest.fixture(scope="module")
def features(files):
    return [[features_of(content) for content in own] for own in files]


def jpeg(picture):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=92)
    return file.getvalue()


def opened(content):
    return Image.open(io.BytesIO(content)).convert("RGB")


def test_an_exposure_is_the_same_bytes_each_time_and_each_number_another_photograph(files):
    planned = next(each for each in plan(SEED, Block(0, 100, 1), first=0) if each.class_names[:1] == (CLEAR[0],))

    assert files[0][0] == exposure(planned, 0, seed=SEED)
    assert files[0][0] != files[0][1]


def test_two_exposures_of_a_lesion_agree_and_exposures_of_two_lesions_do_not(features):
    same = [agreement(one, other).is_one_lesion for one, other in features]
    different = [
        agreement(features[first][0], features[second][1]).features
        for first in range(len(CLEAR))
        for second in range(len(CLEAR))
        if first != second
    ]

    assert [True] * len(CLEAR) == same
    assert max(different) < SETTINGS["least"]


@pytest.mark.soak
def test_which_photograph_comes_first_does_not_matter(features):
    shots = [each for own in features for each in own]
    there = [agreement(one, other) for one in shots for other in shots]
    back = [agreement(other, one) for one in shots for other in shots]

    assert there == back


@pytest.mark.soak_after(4)
@pytest.mark.parametrize("degrees", [0, 37, 90, 201])
@pytest.mark.parametrize("scale", [0.6, 1.0, 1.5])
def test_a_photograph_agrees_with_itself_turned_and_scaled(files, degrees, scale):
    picture = opened(files[0][0])
    sides = [round(side * scale) for side in picture.size]
    turned = picture.resize(sides, Image.Resampling.BICUBIC).rotate(
        degrees, Image.Resampling.BICUBIC, fillcolor=(200, 150, 130)
    )
    canvas = Image.new("RGB", (640, 520), (200, 150, 130))
    canvas.paste(turned, (320 - sides[0] // 2, 260 - sides[1] // 2))

    assert agreement(features_of(files[0][0]), features_of(jpeg(canvas))).is_one_lesion


def test_a_mirror_image_is_another_lesion(files):
    mirrored = opened(files[1][0]).transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    assert not agreement(features_of(files[1][0]), features_of(jpeg(mirrored))).is_one_lesion


def test_the_same_ruler_on_two_lesions_is_no_evidence(files):
    pictures = [opened(files[number][0]) for number in (1, 3)]
    for picture in pictures:
        draw = ImageDraw.Draw(picture)
        draw.rectangle((0, SIZE[1] - 30, *SIZE), fill=(235, 235, 230))
        for number in range(14):
            draw.text((6 + 30 * number, SIZE[1] - 26), f"{number * 7 % 30}", fill=(20, 20, 20), font_size=20)

    assert not agreement(*(features_of(jpeg(picture)) for picture in pictures)).is_one_lesion


def test_black_ground_around_two_lesions_is_no_evidence(files):
    masked = []
    for number in (1, 3):
        picture, mask = opened(files[number][0]), Image.new("L", SIZE)
        ImageDraw.Draw(mask).ellipse((60, 30, 360, 320), fill=255)
        masked.append(features_of(jpeg(Image.composite(picture, Image.new("RGB", SIZE), mask))))

    assert not agreement(*masked).is_one_lesion


@pytest.mark.parametrize(
    "picture", [np.full((200, 300), 90), np.zeros((16, 16)), np.eye(40) * 255], ids=["flat", "small", "a line"]
)
def test_a_photograph_without_features_agrees_with_nothing(picture, features):
    empty = keypoints(picture.astype(np.uint8))

    assert (0, 0) == agreement(empty, empty)[:2] or agreement(empty, empty).features < SETTINGS["least"]
    assert agreement(empty, features[0][0]).features < SETTINGS["least"]


def test_features_are_the_same_each_time(files):
    for one, other in zip(features_of(files[2][0]), features_of(files[2][0]), strict=True):
        np.testing.assert_array_equal(one, other)


def lesion(number):
    return {"schema_id": "m2", "schema_name": "lesion_id", "schema_kind": "CustomMetadataString", "value": number}


def written(image_id, answer, *, patient, of=None):
    made = row(image_id, label(f"L{image_id}", answer), patient=patient, size=SIZE, external_id=f"{image_id}.jpg")
    made["metadata_fields"] += [lesion(of)] if of else []
    return made


ROWS = [
    written("a0", "nevus", patient="P-1", of="1"),
    written("a1", "melasma", patient="P-1", of="2"),
    written("b0", "nevus", patient="P-1", of="3"),
    written("b1", "nevus", patient="P-1", of="3"),
    written("b2", "nevus", patient="P-1", of="3"),
    written("c0", "nevus", patient="P-2"),
    written("c1", "nevus", patient="P-3"),
    written("d0", "nevus", patient="P-4"),
    written("d1", "melasma", patient="P-4"),
]
"""One patient with two lesions and a copy (b2 of b1); a lesion under two patients; one lesion of a fourth."""


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name, own in zip("abcd", files, strict=True):
        for number, content in enumerate(own):
            (folder / f"{name}{number}.jpg").write_bytes(content)
    opened(files[1][1]).save(folder / "b2.jpg", "JPEG", quality=60)
    return folder


@pytest.fixture(scope="module")
def audited_once(tmp_path_factory, folder, study, key):
    workspace = Workspace(tmp_path_factory.mktemp("exposures") / "workspace")
    parse(workspace, study, key, [exports.write(workspace.folder.parent / "e.ndjson", ROWS)], images=folder)
    return workspace, audit(workspace)


@pytest.fixture
def audited(audited_once, tmp_path):
    return Workspace(Path(shutil.copytree(audited_once[0].folder, tmp_path / "workspace")))


def findings(workspace):
    rows = workspace.rows("select * from findings where kind = ?", [KIND])
    return {frozenset((each["case_id"], each["other_case_id"])): each for each in rows}


def pair(one, other):
    return frozenset((case_id_of(one, ""), case_id_of(other, "")))


def test_other_exposures_are_found_within_a_patient_only_and_copies_are_not_told_twice(audited_once):
    workspace, result = audited_once
    kinds = workspace.rows(
        "select kind from findings where case_id = ? or other_case_id = ?", [case_id_of("b2", "")] * 2
    )

    assert {pair("a0", "a1"), pair("b0", "b1"), pair("b0", "b2"), pair("d0", "d1")} == set(findings(workspace))
    assert 4 == result.findings[KIND]
    assert (7, 0) == (result.compared_within_patients, result.left_out_within_patients)
    assert "duplicate_within_patient" in {each["kind"] for each in kinds}


def test_a_finding_says_what_the_registry_says_of_both(audited_once):
    found = findings(audited_once[0])
    details = {name: found[pair(*name)]["detail"] for name in [("a0", "a1"), ("b0", "b1"), ("d0", "d1")]}

    assert "two lesion IDs, and two reference diagnoses: " in details["a0", "a1"]
    assert {"melasma", "nevus"} == set(details["a0", "a1"].rpartition(": ")[2].split(" and "))
    assert details["b0", "b1"].endswith("they have the same lesion ID, the same reference diagnosis")
    assert "neither has a lesion ID, and two reference diagnoses" in details["d0", "d1"]
    assert all(0 < each["score"] <= 1 for each in found.values())
    assert all(
        re.search(r": (\d+) of (\d+) matching features agree; ", each["detail"]) is not None for each in found.values()
    )


@pytest.mark.soak
def test_groups_and_counts_stay_as_they_are(audited, study):
    before = audited.rows("select case_id, patient_id from cases order by all")
    linked = split(audited, study).linked_patients
    with audited.writing() as connection:
        connection.execute("delete from same_lesion_pairs")

    assert linked == split(audited, study).linked_patients
    assert before == audited.rows("select case_id, patient_id from cases order by all")


def test_unchanged_photographs_are_not_compared_again(audited, audited_once, monkeypatch):
    def compared(*_):
        raise AssertionError

    monkeypatch.setattr(same_lesion.exposures, "features_of", compared)
    again = audit(audited)

    assert again == dataclasses.replace(audited_once[1], already_searched=True)
    assert findings(audited) == findings(audited_once[0])


@pytest.mark.soak
def test_other_settings_compare_anew(audited, monkeypatch):
    monkeypatch.setattr(same_lesion, "MOST", 4)
    monkeypatch.setattr(same_lesion, "SETTINGS", "{}")
    again = audit(audited)
    text = str(rendered(again))

    assert (6, 1) == (again.compared_within_patients, again.left_out_within_patients)
    assert pair("b0", "b2") not in findings(audited)
    assert text is not None


@pytest.mark.soak
def test_a_photograph_that_is_gone_is_left_out(audited, tmp_path):
    with audited.writing() as connection:
        connection.execute("update images set path = ? where image_id = 'd1'", [str(tmp_path / "gone.jpg")])
    again = audit(audited)

    assert 5 == again.compared_within_patients
    assert pair("d0", "d1") not in findings(audited)


@pytest.mark.soak
def test_rebuild_has_the_pairs_again(audited, tmp_path):
    before = {name: audited.rows(f"from {name} order by all") for name in ("same_lesion_pairs", "same_lesion_searches")}
    file = exports_of_truth.study_file(tmp_path / "study.toml", {"nevus": False, "melasma": False})
    rebuild(audited, StudyFile(load_study(file), file))

    assert all(before.values())
    assert before == {name: audited.rows(f"from {name} order by all") for name in before}


@pytest.mark.soak
def test_a_withdrawn_patient_has_no_pair_in_any_file(audited, study, key):
    withdrawal.withdraw(
        audited, study, key, "P-1", reparse=lambda: parse(audited, study, key, [], anew=True), apply=True
    )
    audit(audited)

    assert {pair("d0", "d1")} == set(findings(audited))
    assert [("d0", "d1")] == [(r["image_id"], r["other_image_id"]) for r in audited.rows("from same_lesion_pairs")]


def test_the_page_shows_the_pairs_those_with_two_diagnoses_first(audited, study):
    page = audit_page(audited, study)
    text = Path(page.page).read_text(encoding="utf-8")
    section = text[text.index('<section id="same-lesion"') : text.index('<section id="contradictions"')]
    [file] = [Path(name) for name in page.files if name.endswith("same_lesion.csv")]
    rows = read_csv(file)

    assert 8 == section.count("<img ")
    assert "7 photographs were compared with the others of their patient; 4 pairs look like one lesion" in section
    assert [True, True, False, False] == [row["class_name"] != row["other_class_name"] for row in rows]


@pytest.mark.soak
def test_without_patients_nothing_is_compared_and_that_is_said(folder, key, tmp_path):
    file = exports_of_truth.study_file(
        tmp_path / "study.toml", {"nevus": False, "melasma": False}, labelbox='patient_from = "none"'
    )
    study = load_study(file)
    workspace = Workspace(tmp_path / "workspace")
    parse(workspace, study, key, [exports.write(tmp_path / "e.ndjson", ROWS)], images=folder)
    result = audit(workspace)
    text = Path(audit_page(workspace, study).page).read_text(encoding="utf-8")

    assert (0, 0) == (result.compared_within_patients, result.left_out_within_patients)
    assert {} == findings(workspace)
    assert "Other exposures of one lesion were not looked for" in text
