"""Suspect labels: planted errors come first, evidence is by leakage group, and nothing is computed twice."""

import itertools
import shutil

import exports
import numpy as np
import pandas as pd
import pytest
from exports import box, label, row
from PIL import Image, ImageFilter

from toolkit.cases import Box, case_id_of
from toolkit.photographs.plain_features import plain_features
from toolkit.photographs.quality import photograph_quality
from toolkit.stages.audit import audit
from toolkit.stages.parse import parse
from toolkit.workspace.registry import Workspace

LOOKS = {"nevus": (95, 60, 45), "melasma": (205, 160, 130), "ephelis": (170, 70, 60)}
WRONG = {"n3": "melasma", "n17": "melasma", "n28": "nevus"}
NAMES = tuple(LOOKS)


def lesion(seed, colour, *, size=(120, 90)):
    """Return a photograph of skin with a round lesion of a colour in the middle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[1], : size[0]]
    inside = np.hypot(x - size[0] / 2, y - size[1] / 2) < 26 + rng.normal(0, 2)
    pixels = np.where(inside[..., None], colour, (225, 185, 165)) * rng.normal(1, 0.04, 3) + rng.normal(
        0, 4, (*y.shape, 3)
    )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def class_of(number):
    return NAMES[number % 3]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesions")
    for number in range(45):
        lesion(number, LOOKS[class_of(number)]).save(folder / f"n{number}.png")
    return folder


def rows(**more):
    """Rows of 45 photographs of 30 patients, three labelled wrongly; `more` has further labels by photograph."""
    made = []
    for number in range(45):
        name = f"n{number}"
        said = WRONG.get(name, class_of(number))
        labels = [label(f"L{number}", boxes=[box(f"o{number}", 30, 15, 60, 60, said)]), *more.get(name, ())]
        made.append(row(name, *labels, patient=f"P-{number % 30}", size=(120, 90), external_id=f"{name}.png"))
    return made


@pytest.fixture(scope="module")
def audited_once(tmp_path_factory, images, study, key):
    folder = tmp_path_factory.mktemp("suspects")
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, key, [exports.write(folder / "export.ndjson", rows())], images=images)
    return workspace, audit(workspace, study)


def of_kind(workspace):
    return workspace.rows(
        "select case_id, score, detail from findings where kind = 'suspect_label' order by score desc, case_id"
    )


def case_of(name):
    return case_id_of(name, f"o{name[1:]}")


def test_the_labels_that_were_changed_come_first(audited_once):
    workspace, result = audited_once
    first = {row["case_id"] for row in of_kind(workspace)[:3]}

    assert {case_of(name) for name in WRONG} == first
    assert (45, 45, 9) == (result.suspects.cases, result.suspects.compared, result.suspects.listed)
    assert 2 < result.suspects.expected_wrong < 5


def test_a_finding_says_which_class_is_suggested_how_probable_it_is_and_why(audited_once):
    workspace, _ = audited_once
    details = {row["case_id"]: row["detail"] for row in of_kind(workspace)}
    detail = details[case_of("n3")]

    assert detail.startswith("probably nevus (")
    assert " and not melasma: colour, texture and shape are more like nevus (0." in detail


def test_every_label_has_its_evidence_though_not_every_one_is_a_finding(audited_once):
    workspace, _ = audited_once
    evidence = workspace.rows("select * from label_evidence order by place")

    assert list(range(1, 46)) == [row["place"] for row in evidence]
    assert 9 == sum(row["listed"] for row in evidence)
    assert all(abs(sum(dict(row["probabilities"]).values()) - 1) < 1e-4 for row in evidence)
    assert all(row["score"] >= later["score"] for row, later in itertools.pairwise(evidence))


@pytest.mark.soak
def test_the_same_export_gives_the_same_findings_in_another_workspace_under_another_key(
    audited_once, tmp_path, images, study
):
    from toolkit.privacy import PseudonymKey

    workspace, _ = audited_once
    other = Workspace(tmp_path / "workspace")
    export = exports.write(tmp_path / "export.ndjson", rows())
    parse(other, study, PseudonymKey(b"another key", published=True), [export], images=images)
    audit(other, study)

    assert of_kind(workspace) == of_kind(other)


def test_nothing_is_measured_or_compared_again_where_nothing_has_changed(audited_once, tmp_path, study):
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(audited_once[0].folder, workspace.folder)
    before = of_kind(workspace)
    activities = set()
    audit(workspace, study, progress=lambda activity, *_: activities.add(activity))

    assert {"measuring photographs", "comparing labels with photographs"}.isdisjoint(activities)
    assert before == of_kind(workspace)


@pytest.mark.soak
def test_a_new_label_is_compared_without_measuring_photographs_again(audited_once, tmp_path, images, study, key):
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(audited_once[0].folder, workspace.folder)
    second = {"n3": [label("L3b", boxes=[box("o3b", 30, 15, 60, 60, "nevus")], by="reader2@example.org", day=3)]}
    parse(workspace, study, key, [exports.write(tmp_path / "export.ndjson", rows(**second))], images=images)
    activities = set()
    audit(workspace, study, progress=lambda activity, *_: activities.add(activity))

    assert "measuring photographs" not in activities
    assert "comparing labels with photographs" in activities


@pytest.mark.soak
def test_a_class_of_one_group_of_patients_gets_no_evidence_and_says_so(tmp_path, images, study, key):
    made = rows()
    made[0] = row("n0", label("L0", boxes=[box("o0", 30, 15, 60, 60, "solar_lentigo")]), patient="P-0", size=(120, 90),
                  external_id="n0.png")  # fmt: skip
    workspace = Workspace(tmp_path / "workspace")
    parse(workspace, study, key, [exports.write(tmp_path / "export.ndjson", made)], images=images)
    result = audit(workspace, study)
    (evidence,) = workspace.rows("select * from label_evidence where class_name = 'solar_lentigo'")

    assert 44 == result.suspects.compared
    assert evidence["own_probability"] is None
    assert evidence["reasons"].startswith("its class is known from one group of patients only")


@pytest.mark.soak
def test_without_photographs_no_label_is_suspect(tmp_path, study, key):
    workspace = Workspace(tmp_path / "workspace")
    parse(workspace, study, key, [exports.write(tmp_path / "export.ndjson", rows())])
    result = audit(workspace, study)

    assert (0, 0) == (result.suspects.compared, result.suspects.listed)
    assert [] == of_kind(workspace)


def test_features_are_finite_and_hardly_change_with_light_and_camera():
    photograph = lesion(1, LOOKS["nevus"])
    warmer = Image.fromarray((np.asarray(photograph) * (1.05, 0.97, 0.9)).clip(0, 255).astype(np.uint8))
    roi = Box(30, 15, 60, 60)
    one, other = (np.array(list(plain_features(image, roi).values())) for image in (photograph, warmer))

    assert np.isfinite(one).all()
    names = list(plain_features(photograph, roi))
    at = names.index("darkness lesion mean")
    assert one[at] == pytest.approx(other[at], abs=0.03)


@pytest.mark.parametrize(
    "roi", [None, Box(-40, -40, 60, 60), Box(118, 88, 40, 40), Box(50, 40, 0.5, 0.5), Box(0, 0, 120, 90)]
)
@pytest.mark.parametrize("kind", ["lesion", "flat", "black"])
def test_any_photograph_and_any_roi_has_finite_features(kind, roi):
    flat = {"flat": (180, 150, 140), "black": (0, 0, 0)}
    image = lesion(2, LOOKS["nevus"]) if kind == "lesion" else Image.new("RGB", (120, 90), flat[kind])

    assert np.isfinite(list(plain_features(image, roi).values())).all()
    assert np.isfinite(photograph_quality(image)).all()


def test_a_blurred_photograph_is_less_sharp_and_holds_fewer_pixels():
    sharp = lesion(3, LOOKS["ephelis"])
    one, other = photograph_quality(sharp), photograph_quality(sharp.filter(ImageFilter.GaussianBlur(3)))

    assert other.sharpness < one.sharpness / 2
    assert other.effective_pixels < one.effective_pixels / 2


def test_annotators_are_followed_from_week_to_week(finished):
    workspace = finished.workspace
    rows = workspace.shipped_rows("annotators_by_week")
    frame = workspace.read(
        "select readings.annotator, readings.class_name, labels.updated_at, labels.created_at, "
        "truth.readings as several, truth.class_name as truth, labels.seconds_to_create as seconds from readings "
        "inner join labels using (label_id, revision) inner join truth on truth.case_id = readings.case_id"
    ).to_pandas()
    when = frame["updated_at"].fillna(frame["created_at"])
    frame["week"] = (when - pd.to_timedelta(when.dt.day_of_week, unit="D")).dt.date
    expected = dict(list(frame.groupby(["annotator", "week"])))

    assert set(expected) == {(each["annotator"], each["week"]) for each in rows}
    for each in rows:
        own = expected[each["annotator"], each["week"]]
        shared = own[own["several"] > 1]
        assert (len(own), len(shared)) == (each["readings"], each["shared"])
        if len(shared):
            assert (shared["class_name"] == shared["truth"]).mean() == pytest.approx(each["agreement"])
        assert own["seconds"].median() == pytest.approx(each["median_seconds"], nan_ok=True)
    assert any(each["expected_error_rate"] > 0 for each in rows)


def test_references_that_all_the_evidence_contradicts_are_told_with_their_readings(finished):
    rows = finished.workspace.shipped_rows("evidence_against_reference")
    known = {row["case_id"]: row for row in finished.workspace.rows("from label_evidence")}
    against = {
        case for case, row in known.items() if max(row["suggested_probability"], 1 - row["score"]) > 1 - row["score"]
    }

    assert against == {row["case_id"] for row in rows}
    assert rows
    assert all(row["most_probable"] != row["reference_diagnosis"] and row["readings"] for row in rows)
