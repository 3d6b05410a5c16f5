import json
import shutil
from pathlib import Path

import exports
import numpy as np
import pytest
from exports import label, row
from PIL import Image

from toolkit.console.runs import rendered
from toolkit.errors import LeakError, ModelError, StudyError, WorkspaceError
from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ExternalSection
from toolkit.pipeline import status
from toolkit.privacy import PseudonymKey
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import external, predict
from toolkit.stages.report import report
from toolkit.stages.split import split, verify
from toolkit.stages.withdraw.results import clean_splits
from toolkit.workspace.registry import Workspace

CLASSES = [
    ClassSection(name="mole", answer="common mole", malignant=False),
    ClassSection(name="melasma", answer="melasma", malignant=False),
    ClassSection(name="wart", answer="wart", malignant=False),
]
MAPPED = ExternalSection(classes={"mole": ["nevus", "ephelis"]})


def own(study: Study, mapped: ExternalSection = MAPPED) -> Study:
    """The study of the other hospital: fewer classes, called otherwise, and one that the run does not know."""
    section = study.split.model_copy(update={"external": True, "binds": ["patient"], "pinned": None})
    asked = study.prompt.model_copy(update={"user": "Another question?"})
    evaluation = study.evaluate.model_copy(update={"operating_points": [], "groups": [], "replicates": 100})
    update = {"classes": CLASSES, "split": section, "prompt": asked, "evaluate": evaluation, "external": mapped}
    return Study.model_validate(study.model_copy(update=update).model_dump())


def workspace_of(folder: Path, study: Study, photographs: list[np.ndarray]) -> Workspace:
    """A workspace of the other hospital with these photographs, each of a patient of its own."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for n, pixels in enumerate(photographs):
        Image.fromarray(pixels).save(folder / "images" / f"i{n}.jpg", format="PNG")
        answer = ("common mole", "melasma", "wart")[n % 3]
        rows.append(row(f"i{n}", label(f"L{n}", answer), patient=f"Q-{n}", size=pixels.shape[1::-1]))
    workspace = Workspace(folder / "workspace")
    export = exports.write(folder / "export.ndjson", rows)
    parse(workspace, study, PseudonymKey(b"another key", published=True), [export], images=folder / "images")
    split(workspace, study)
    return workspace


@pytest.fixture(scope="module")
def noise() -> list[np.ndarray]:
    return list(np.random.default_rng(4).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def tried(finished, noise, tmp_path_factory):
    """The finished run on another hospital's cases."""
    study = own(finished.study_file.study)
    workspace = workspace_of(tmp_path_factory.mktemp("other"), study, noise)
    return workspace, study, predict(workspace, study, run=str(finished.workspace.run(finished.run_id)))


def test_every_case_stands_in_part_external_with_a_certificate_that_holds(tried):
    workspace, study, _ = tried
    split_id = workspace.rows("select distinct split_id from splits")[0]["split_id"]

    assert [{"part": "external", "n": 12}] == workspace.rows("select part, count(*) as n from splits group by part")
    assert 12 == verify(workspace.split(split_id)).cases
    with pytest.raises(WorkspaceError, match="nothing to keep"):
        split(workspace, study, frozen=split_id)


def test_a_run_of_another_workspace_is_recorded_and_tried(tried, finished):
    workspace, study, result = tried
    record = json.loads((workspace.run(result.run_id) / "run.json").read_text())

    assert ({"external": 8}, {"wart": 4}) == (result.cases, result.unmapped)
    assert finished.run_id == result.external_of == record["external_of"] != result.run_id
    assert {"cases": 12, "photographs_compared": 12, "patients_compared": False} == record["leaks"]
    assert not result.patients_compared
    assert 0 == predict(workspace, study, run=result.run_id).scored_now


def test_probabilities_are_those_of_the_mapped_classes_alone(tried, finished):
    workspace, _, result = tried
    rows = workspace.rows("from predictions where run_id = $run", {"run": result.run_id})

    assert 8 == len(rows)
    for each in rows:
        chances, wordings = dict(each["probabilities"]), dict(each["wordings"])
        moles = np.logaddexp(wordings["nevus"], wordings["ephelis"])
        assert finished.study_file.study.answers == list(wordings)
        assert 0.0 == chances["wart"]
        assert np.exp(moles - np.logaddexp(moles, wordings["melasma"])) == pytest.approx(chances["mole"])


def test_an_external_part_is_scored_reported_and_controlled(tried):
    workspace, study, result = tried
    scored = evaluate(workspace, study)
    made = report(workspace, study)
    blank = predict(workspace, study, control="blank")
    rendered(result)
    rendered(blank)

    assert {"external": 8} == scored.cases == blank.cases
    assert result.run_id == scored.run_id == made.run_id == blank.control_of
    assert "toolkit query" == status(workspace).next


def test_a_patient_can_leave_an_external_split(tried, tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(tried[0].folder, workspace.folder)
    gone = workspace.rows("select patient_id, case_id from cases limit 1")[0]
    clean_splits(workspace, gone["patient_id"], {gone["case_id"]}, date="2026-01-01")

    assert 11 == verify(next((workspace.folder / "splits").iterdir())).cases


def test_a_photograph_that_the_run_was_trained_on_is_refused(finished, noise, tmp_path):
    study = own(finished.study_file.study)
    seen = finished.workspace.rows(
        "select path from splits join cases using (case_id) join images using (image_id) where part = 'train' limit 1"
    )
    photograph = np.asarray(Image.open(seen[0]["path"]).convert("RGB"))
    workspace = workspace_of(tmp_path, study, [*noise[:3], photograph])

    with pytest.raises(LeakError, match="was trained on 1 of these photographs"):
        predict(workspace, study, run=str(finished.workspace.run(finished.run_id)))
    assert not workspace.rows("from runs")


@pytest.fixture
def elsewhere(finished, tmp_path):
    """The files of the finished run and its split, without the registry and the checkpoint."""
    for name in ("runs", "splits"):
        ignored = shutil.ignore_patterns("checkpoint", "predictions")
        shutil.copytree(finished.workspace.folder / name, tmp_path / "there" / name, ignore=ignored)
    return tmp_path / "there" / "runs" / finished.run_id


def test_a_patient_of_the_same_key_is_refused(tried, elsewhere, finished):
    workspace = tried[0]
    patient = workspace.rows("select patient_id from cases limit 1")[0]["patient_id"]
    with (elsewhere.parents[1] / "splits" / finished.results["Split"].split_id / "cases.csv").open("a") as file:
        file.write(f"0,train,{patient},,0,nevus,,,{{}}\n")

    with pytest.raises(LeakError, match="on the patients of 1 cases"):
        external.bring(workspace, elsewhere)


def test_a_run_whose_split_is_not_beside_it_is_refused(tried, elsewhere):
    shutil.rmtree(elsewhere.parents[1] / "splits")

    with pytest.raises(LeakError, match="the cases that this run was trained on are unknown"):
        external.bring(tried[0], elsewhere)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"mole": "naevus"}, "'naevus' is no class of the run"),
        ({"mole": "nevus", "wart": "nevus"}, "'nevus' is listed twice"),
        ({"mole": "melasma"}, "fewer than two of this study's classes"),
    ],
)
def test_classes_that_cannot_be_mapped_are_named(finished, classes, message):
    study = finished.study_file.study

    with pytest.raises(StudyError, match=message):
        external.meaning(own(study, ExternalSection(classes=classes)), study.classes)


def test_what_is_no_run_is_refused(tried, tmp_path):
    (tmp_path / "run.json").write_text("[]")

    with pytest.raises(ModelError, match="no run in this folder"):
        predict(tried[0], tried[1], run=str(tmp_path))


def test_a_workspace_without_external_cases_is_told_what_to_write(finished):
    with pytest.raises(WorkspaceError, match="no part external"):
        external.bring(finished.workspace, finished.workspace.run(finished.run_id))
