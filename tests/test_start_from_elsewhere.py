"""Training that starts from a run of another workspace: what it may have seen, what it gains here, what is refused."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import exports
import forging
import numpy as np
import pytest
from exports import label, row
from PIL import Image
from sklearn.metrics import recall_score

from toolkit.console.runs import rendered
from toolkit.console.text import stdout
from toolkit.errors import DamagedError, LeakError, ModelError, ToolkitError
from toolkit.files import sha256_of_file, write_sealed
from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ExternalSection
from toolkit.models.checkpoint import read_checkpoint
from toolkit.models.features import weights_digest
from toolkit.privacy import PseudonymKey, normalise
from toolkit.stages.compare import compare
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import external, predict
from toolkit.stages.report import report
from toolkit.stages.split import split
from toolkit.stages.train import Trained, train
from toolkit.stages.withdraw.results import runs_on
from toolkit.workspace.certificate import digest, salt_of
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import read_run
from toolkit.workspace.starts import start_of

ANSWERS = {"mole": "nevus", "melasma": "melasma", "mixed": "solar melanoma"}
"""Classes here and their answers, in words of the tiny model; the last is none of the run's."""
KEY = PseudonymKey(b"another key", published=True)


class Site(NamedTuple):
    """The workspace of another hospital, its study, and the folder beside which its photographs are."""

    workspace: Workspace
    study: Study
    folder: Path
    rows: list[dict]


def own(study: Study) -> Study:
    """Return the study of the other hospital."""
    section = study.split.model_copy(update={"binds": ["patient"], "pinned": None})
    evaluation = study.evaluate.model_copy(update={"operating_points": [], "groups": [], "replicates": 100})
    classes = [ClassSection(name=name, answer=answer, malignant=False) for name, answer in ANSWERS.items()]
    update = {
        "classes": classes,
        "split": section,
        "evaluate": evaluation,
        "train": study.train.model_copy(update={"epochs": 1}),
    }
    update["external"] = ExternalSection(classes={"mole": "nevus"})
    return Study.model_validate(study.model_copy(update=update).model_dump())


def photograph(folder: Path, number: int, pixels: np.ndarray, *, patient: str = "") -> dict:
    """Write a photograph of a patient of its own; return its row of an export."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / f"i{number}.jpg", format="PNG")
    answer = list(ANSWERS.values())[number % 3]
    return row(f"i{number}", label(f"L{number}", answer), patient=patient or f"Q-{number}", size=pixels.shape[1::-1])


def noise(count: int, seed: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def there(finished, tmp_path_factory) -> Path:
    """The finished run in files of its own, without registry and ledger."""
    folder = tmp_path_factory.mktemp("there")
    for name in ("runs", "splits"):
        ignored = shutil.ignore_patterns("predictions", "*.parquet")
        shutil.copytree(finished.workspace.folder / name, folder / name, ignore=ignored)
    return folder / "runs" / finished.run_id


@pytest.fixture(scope="module")
def here(finished, tmp_path_factory) -> Site:
    """Another hospital with a split of a training, a validation and a test set."""
    folder, study = tmp_path_factory.mktemp("here"), own(finished.study_file.study)
    rows = [photograph(folder / "images", number, pixels) for number, pixels in enumerate(noise(36))]
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, KEY, [exports.write(folder / "export.ndjson", rows)], images=folder / "images")
    split(workspace, study)
    return Site(workspace, study, folder, rows)


class Adapted(NamedTuple):
    """The other hospital with the run as it came, and one that started from it."""

    site: Site
    study: Study
    before: str
    result: Trained


@pytest.fixture(scope="module")
def adapted(here, there, tmp_path_factory) -> Adapted:
    workspace = Workspace(tmp_path_factory.mktemp("adapted") / "workspace")
    shutil.copytree(here.workspace.folder, workspace.folder)
    before = predict(workspace, here.study, run=str(there)).run_id
    evaluate(workspace, here.study, run=before)
    study = started(here.study, before)
    result = train(workspace, study, study_folder=here.folder)
    predict(workspace, study, run=result.run_id)
    evaluate(workspace, study, run=result.run_id)
    compare(workspace, study, before, result.run_id)
    return Adapted(here._replace(workspace=workspace), study, before, result)


def started(study: Study, run_id: str, **settings: object) -> Study:
    return Study.model_validate(
        study.model_dump() | {"train": {**study.train.model_dump(), "start_from": run_id, **settings}}
    )


def test_a_run_of_another_workspace_is_tried_on_the_test_set_where_there_is_no_part_external(adapted, finished):
    workspace, study = adapted.site.workspace, adapted.site.study
    record = read_run(workspace, adapted.before)
    rows = workspace.rows(
        "select part, truth, count(*) as n from scored where run_id = $run group by all order by all",
        {"run": adapted.before},
    )
    in_test = workspace.rows(
        "select class_name, count(*) as n from splits where part = 'test' group by all order by class_name"
    )

    assert finished.run_id == record.external_of
    assert [("test", row["class_name"], row["n"]) for row in in_test if row["class_name"] != "mixed"] == [
        tuple(row.values()) for row in rows
    ]
    assert {"cases": 36, "photographs_compared": 36, "patients_compared": False} == record.leaks
    with pytest.raises(ModelError, match="here it is tried on part test alone"):
        predict(workspace, study, run=adapted.before, parts=("validation",))
    with pytest.raises(ModelError, match="what plain features would be fitted on is not here"):
        predict(workspace, study, run=adapted.before, control="plain")


def test_training_starts_from_its_weights_and_says_what_could_be_compared(adapted, there):
    record = read_run(adapted.site.workspace, adapted.result.run_id)
    weights = read_checkpoint(str(there / "checkpoint")).model

    assert adapted.before == record.started_from == adapted.result.started_from
    assert weights_digest(weights) == record.model.model_dump()["base_weights_sha256"]
    assert {"cases": 36, "photographs_compared": 36, "patients_compared": False} == record.start_leaks
    assert record.start_leaks == adapted.result.start_leaks


def test_what_it_gained_here_is_a_paired_difference_on_the_test_set(adapted):
    workspace, before, after = adapted.site.workspace, adapted.before, adapted.result.run_id
    asked = "select case_id, truth, predicted from scored where run_id = $run and part = 'test' order by case_id"
    scored = {run: workspace.rows(asked, {"run": run}) for run in (before, after)}
    both = {row["case_id"] for row in scored[before]}
    names = ["mole", "melasma"]
    expected = [
        recall_score(
            *([row[name] for row in scored[run] if row["case_id"] in both] for name in ("truth", "predicted")),
            labels=names,
            average=None,
        )
        for run in (before, after)
    ]
    rows = {row["class_name"]: row for row in workspace.shipped_rows("adaptation", run=after, other=before)}

    assert {"mole": False, "melasma": False, "mixed": True} == {name: row["is_new"] for name, row in rows.items()}
    assert expected[0].tolist() == pytest.approx([rows[name]["recall_before"] for name in names])
    assert expected[1].tolist() == pytest.approx([rows[name]["recall_after"] for name in names])
    assert rows["mixed"]["difference"] is None


@pytest.mark.parametrize("audience", ["internal", pytest.param("shared", marks=pytest.mark.soak)])
def test_the_page_says_what_cannot_be_measured_here(adapted, audience):
    run_id = adapted.result.run_id
    page = Path(report(adapted.site.workspace, adapted.study, run=run_id, audience=audience).page)
    text = " ".join(page.read_text(encoding="utf-8").split())

    assert f"Its training started from run {adapted.before}, which goes back to another workspace." in text
    assert "What was forgotten of the patients there cannot be measured here." in text
    assert "That run was trained on none of the photographs of 36 cases that were compared with its own." in text
    assert "That run may have seen patients of this workspace: they could not be compared" in text
    assert f"The weights that it began with were those of run {adapted.before}, which go back to a run" in text
    assert "Started in another workspace" in text
    assert (audience == "internal") is ("An old class is worse here where" in text)
    assert "forgotten where" not in text


def test_the_page_of_the_run_as_it_came_is_of_the_test_set(adapted):
    page = Path(report(adapted.site.workspace, adapted.site.study, run=adapted.before, audience="internal").page)
    text = " ".join(page.read_text(encoding="utf-8").split())

    assert "External validation" in text
    assert (
        "The run was trained on none of these photographs, and neither temperature nor threshold was chosen on them."
        in text
    )
    assert "in the external set" not in text


def test_the_terminal_says_so_too(adapted, capsys):
    stdout.print(rendered(adapted.result), crop=False)
    text = " ".join(capsys.readouterr().out.split())

    assert "a run of another workspace, trained on none of the photographs of 36 cases" in text
    assert "that run may have seen patients of this one" in text
    assert f"compare {adapted.before} {adapted.result.run_id}" in text


def test_it_was_not_trained_on_patients_of_this_workspace_and_what_started_from_it_was(adapted):
    workspace = adapted.site.workspace

    assert [adapted.result.run_id] == runs_on(workspace, {read_run(workspace, adapted.before).split_id})


@pytest.fixture
def again(adapted, there, tmp_path) -> tuple[Site, Study, Path]:
    """The other hospital, and its study that starts from a run in a folder that a test may change."""
    folder = tmp_path / "there"
    shutil.copytree(there.parents[1], folder)
    site = adapted.site._replace(workspace=Workspace(tmp_path / "workspace"), folder=tmp_path)
    shutil.copytree(adapted.site.workspace.folder, site.workspace.folder)
    shutil.copytree(adapted.site.folder / "images", tmp_path / "images")
    return site, adapted.study, folder / "runs" / there.name


def recorded(site: Site, study: Study, run: Path) -> Study:
    """Record a run here; return the study that starts from it."""
    return started(study, external.bring(site.workspace, run, study).run_id)


def rewrite(run: Path, **keys: object) -> None:
    """Change run.json and seal it again; its workspace has no ledger that would know the first one."""
    write_sealed(run / "run.json", json.loads((run / "run.json").read_text()) | keys)


def grown(site: Site, new: dict) -> str:
    """Parse one more photograph, and let the split grow; return the new split's ID."""
    frozen = site.workspace.rows("select distinct split_id from splits")[0]["split_id"]
    export = exports.write(site.folder / "more.ndjson", [*site.rows, new])
    parse(site.workspace, site.study, KEY, [export], images=site.folder / "images")
    return split(site.workspace, site.study, frozen=frozen).split_id


def test_a_photograph_that_came_since_and_that_it_was_trained_on_is_refused(again, finished):
    site, study, run = again
    seen = finished.workspace.rows(
        "select path from splits join cases using (case_id) join images using (image_id) where part = 'train' limit 1"
    )
    study = recorded(site, study, run)
    pixels = np.asarray(Image.open(seen[0]["path"]).convert("RGB"))
    split_id = grown(site, photograph(site.folder / "images", 36, pixels))

    with pytest.raises(LeakError, match="was trained on 1 of these photographs"):
        train(site.workspace, study, study_folder=site.folder, split_id=split_id)


def test_a_patient_that_came_since_and_that_it_has_seen_is_refused(again):
    site, study, run = again

    def come(rows):
        gone = next(each["patient_id"] for each in rows if each["part"] == "validation")
        for each in rows:
            each["patient_id"] = (
                KEY.pseudonym("p", normalise("Q-99")) if each["patient_id"] == gone else each["patient_id"]
            )

    rewrite(run, split_seal=forging.forge(run.parents[1] / "splits" / read_split(run), rows=come))
    study = recorded(site, study, run)
    split_id = grown(site, photograph(site.folder / "images", 36, noise(1, seed=5)[0], patient="Q-99"))

    with pytest.raises(LeakError, match="on the patients of 1 cases"):
        train(site.workspace, study, study_folder=site.folder, split_id=split_id)


def read_split(run: Path) -> str:
    return json.loads((run / "run.json").read_text())["split_id"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def other_split(run: Path) -> None:
    folder = run.parents[1] / "splits" / read_split(run)
    rewrite(run, split_seal=forging.forge(folder, stated=lambda stated: stated.update(salt="0" * 16)))


def other_weights(run: Path) -> None:
    flip(run / "checkpoint" / "model.safetensors")
    noted = json.loads((run / "run.json").read_text())["checkpoint_files"]
    weights = sha256_of_file(run / "checkpoint" / "model.safetensors")
    rewrite(run, checkpoint_files={**noted, "model.safetensors": weights})


def rows_deleted(run: Path) -> None:
    folder = run.parents[1] / "splits" / read_split(run)
    forging.write_rows(folder, [each for each in forging.rows_in(folder) if each["part"] == "test"])


CHANGED = {
    "a byte of the weights": (lambda run: flip(run / "checkpoint" / "model.safetensors"), DamagedError, "changed"),
    "weights that are noted": (other_weights, DamagedError, "changed"),
    "code": (lambda run: (run / "checkpoint" / "m.py").write_text("raise SystemExit"), DamagedError, "changed"),
    "rows of its split": (rows_deleted, LeakError, "its split does not hold"),
    "its split": (other_split, ModelError, "not the one that was recorded here"),
    "another run": (lambda run: rewrite(run, run_id="00000000"), ModelError, "not the one that was recorded here"),
    "its split is gone": (lambda run: shutil.rmtree(run.parents[1] / "splits"), LeakError, "are unknown"),
    "it is gone": (lambda run: shutil.rmtree(run.parents[1]), ModelError, "is gone"),
}


@pytest.mark.soak_after(5)
@pytest.mark.parametrize("name", CHANGED)
def test_a_folder_that_was_changed_since_is_refused(again, name):
    site, study, run = again
    study = recorded(site, study, run)
    split_id = read_run(site.workspace, study.train.start_from).split_id
    before = start_of(site.workspace, study, split_id)
    change, error, problem = CHANGED[name]
    change(run)

    assert before is not None
    with pytest.raises(ToolkitError, match=problem) as refused:
        start_of(site.workspace, study, split_id)
    assert error is type(refused.value)


# What the run itself started from


def earlier_run(run: Path, **forged: object) -> str:
    """Forge a run that a run started from, on a split of its own; return its ID."""
    splits, first = run.parents[1] / "splits", run.with_name("aaaaaaaa")
    shutil.copytree(splits / read_split(run), splits / "bbbbbbbb")
    shutil.copytree(run, first)
    seal = forging.forge(
        splits / "bbbbbbbb",
        stated=lambda stated: stated.update(split_id="bbbbbbbb", salt=salt_of("bbbbbbbb")),
        **forged,
    )
    rewrite(first, run_id=first.name, split_id="bbbbbbbb", split_seal=seal)
    rewrite(run, started_from=first.name)
    return first.name


def test_what_the_run_started_from_counts_as_seen(again):
    site, _, run = again
    salt = salt_of("bbbbbbbb")
    [own] = site.workspace.rows("select pixel_sha256 from images order by image_id limit 1")

    def seen(rows):
        next(each for each in rows if each["part"] == "train")["photograph_digest"] = digest(salt, own["pixel_sha256"])

    earlier_run(run, rows=seen)

    with pytest.raises(LeakError, match="was trained on 1 of these photographs"):
        predict(site.workspace, site.study, run=str(run))


def test_a_run_that_started_from_a_true_one_is_taken_and_belongs_to_no_run_of_this_workspace(again):
    site, study, run = again
    earlier_run(run)
    study = recorded(site, study, run)
    record = read_run(site.workspace, study.train.start_from)

    assert record.started_from is None
    assert {"cases": 36, "photographs_compared": 36, "patients_compared": False} == record.leaks
    assert record.leaks == start_of(site.workspace, study, record.split_id).leaks


@pytest.mark.parametrize("name", ["cccccccc", "../../x", "itself"])
def test_a_run_that_started_from_one_that_is_not_there_is_refused(again, name):
    site, _, run = again
    rewrite(run, started_from=run.name if name == "itself" else name)

    with pytest.raises(LeakError, match="what that has seen is unknown"):
        predict(site.workspace, site.study, run=str(run))


def test_a_run_that_goes_back_to_yet_another_workspace_is_not_taken_further(adapted, finished):
    with pytest.raises(LeakError, match="what that has seen is unknown: this run is a run of yet another workspace"):
        external.bring(finished.workspace, adapted.site.workspace.run(adapted.result.run_id))


def test_what_starts_from_a_run_that_started_there_is_compared_as_well(adapted):
    workspace = adapted.site.workspace
    study = started(adapted.study, adapted.result.run_id)
    start = start_of(workspace, study, read_run(workspace, adapted.before).split_id)

    assert adapted.result.run_id == start.record.run_id
    assert {"cases": 36, "photographs_compared": 36, "patients_compared": False} == start.leaks


@pytest.mark.soak
@pytest.mark.parametrize("from_run", [False, True])
def test_adapters_of_another_workspace_are_trained_on_beside_their_base_there(here, finished, tmp_path, from_run):
    home, folder = Workspace(tmp_path / "home"), finished.study_file.folder
    shutil.copytree(finished.workspace.folder, home.folder)
    lora = {"mode": "lora", "epochs": 1, "lora": {"rank": 2}}
    theirs = started(finished.study_file.study, finished.run_id if from_run else "", **lora)
    run = home.run(train(home, theirs, study_folder=folder).run_id)
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(here.workspace.folder, workspace.folder)
    before = predict(workspace, here.study, run=str(run)).run_id
    study = started(here.study, before, **lora)
    result = train(workspace, study, study_folder=here.folder)
    checkpoint = workspace.run(result.run_id) / "checkpoint"
    base = (checkpoint / json.loads((checkpoint / "base.json").read_text())["name"]).resolve()

    assert predict(workspace, study, run=result.run_id).scored_now
    assert (home.run(finished.run_id) if from_run else home.folder / "models") == base.parent
    with pytest.raises(ModelError, match="have rank 2 and alpha 32"):
        train(workspace, started(study, before, lora={"rank": 3}), study_folder=here.folder)
