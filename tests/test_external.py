import html
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import exports
import forging
import numpy as np
import pytest
from exports import label, row
from PIL import Image

from toolkit.console.runs import rendered
from toolkit.errors import DamagedError, LeakError, ModelError, StudyError, ToolkitError, WorkspaceError
from toolkit.files import sha256_of_file, write_sealed
from toolkit.formatting import moment
from toolkit.manifest import Study
from toolkit.manifest.cohort import ClassSection
from toolkit.manifest.model import ExternalSection
from toolkit.privacy import PseudonymKey
from toolkit.stages.evaluate import evaluate
from toolkit.stages.parse import parse
from toolkit.stages.predict import external, predict
from toolkit.stages.predict.frozen import frozen
from toolkit.stages.report import report
from toolkit.stages.report.facts import gather
from toolkit.stages.report.origin import trained
from toolkit.stages.split import split, verify
from toolkit.stages.status import status
from toolkit.stages.withdraw.results import clean_splits
from toolkit.workspace.registry import Workspace
from toolkit.workspace.runs import read_run, record_run
from toolkit.workspace.scores import unsayable

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
    assert "toolkit audit" == status(workspace).next


@pytest.fixture(scope="module")
def page(tried):
    """The page of the run on the other hospital's cases, its text, and what others get."""
    workspace, study, result = tried
    evaluate(workspace, study, run=result.run_id)
    texts = {}
    for audience in ("internal", "shared"):
        made = report(workspace, study, run=result.run_id, audience=audience)
        texts[audience] = html.unescape(re.sub(r"<[^>]+>", "", Path(made.page).read_text(encoding="utf-8")))
    return texts


@pytest.mark.soak
def test_the_page_tells_what_the_terminal_tells(tried, finished, page):
    """Cases left out, source run, whether it can have seen a patient, time of training, meaning of the classes."""
    workspace, _, result = tried
    ended = read_run(finished.workspace, finished.run_id).finished_at
    text = page["internal"]

    assert f"in another workspace, where it is run {finished.run_id}" in text
    assert f"training ended {moment(ended)}" in text
    assert "Left out: 4 cases / 4 patients of wart, since the run was not trained on this class." in text
    assert "It may have seen patients of this workspace" in text
    assert "trained on none of the photographs of 12 cases" in text
    assert "mole is its “ephelis” or “nevus”; melasma is its “melasma”" in text
    assert "Its answers that are no class here: " in text
    assert "Averages are over the 2 of 3 classes that the run can say, without wart." in text
    assert ended == read_run(workspace, result.run_id).trained_at


def test_the_page_of_others_workspace_says_nothing_that_is_true_of_the_development_alone(tried, page):
    text = page["internal"]

    assert "The test set was not used in training" not in text
    assert "Every case with a reference diagnosis is in the external set" in text
    assert "It was trained in another workspace, where it is run" in text
    assert f"finished {tried[0].rows('select finished_at from runs')[0]['finished_at']:%Y}" not in text


def test_others_get_no_small_number_of_cases_left_out(page):
    text = page["shared"]

    assert "Left out: suppressed of wart" in text
    assert "4 cases / 4 patients of wart" not in text
    assert not re.search(r"training ended \d{4}-", text)


@pytest.mark.soak
def test_averages_are_over_the_classes_that_the_run_can_say(tried):
    """A class that is never said has specificity 1 and NPV 1, which would raise every average."""
    workspace, study, result = tried
    evaluate(workspace, study, run=result.run_id)
    rows = workspace.rows("from scores where run_id = $run", {"run": result.run_id})
    scored = {(row["metric"], row["class_name"]): row for row in rows}
    scores = workspace.rows("from scored where run_id = $run", {"run": result.run_id})
    truth, predicted = ([row[column] for row in scores] for column in ("truth", "predicted"))

    assert ["wart"] == unsayable(workspace, result.run_id)
    assert {"mole", "melasma", None} == {class_name for _, class_name in scored}
    by_hand = np.mean(
        [
            np.mean([p != name for t, p in zip(truth, predicted, strict=True) if t != name])
            for name in ("mole", "melasma")
        ]
    )
    assert by_hand == pytest.approx(scored["macro_specificity", None]["value"])
    assert np.mean([t == p for t, p in zip(truth, predicted, strict=True)]) == pytest.approx(
        scored["micro_specificity", None]["value"]
    )
    with workspace.reading() as connection:
        for row in rows:
            (again,) = connection.execute(row["query"]).fetchone()

            assert row["value"] == pytest.approx(again, abs=1e-12, nan_ok=True), (row["metric"], row["class_name"])


def test_a_case_that_was_relabelled_to_a_class_that_the_run_cannot_say_is_not_scored_silently(tried, tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(tried[0].folder, workspace.folder)
    with workspace.writing() as connection:
        connection.execute("update reading_history set class_name = 'wart' where class_name = 'melasma'")

    with pytest.raises(WorkspaceError, match="labelled wart since they were predicted"):
        evaluate(workspace, tried[1], run=tried[2].run_id)


@pytest.mark.soak
def test_the_page_of_an_input_ablation_says_what_it_is_of(tried):
    workspace, study, result = tried
    blank = predict(workspace, study, control="blank", run=result.run_id)
    evaluate(workspace, study, run=blank.run_id)
    facts = gather(workspace, study, blank.run_id)

    assert f"This is an input ablation of run {result.run_id}: the model gets a grey square" in trained(facts)
    assert "training ended" in trained(facts)
    assert trained(replace(facts, record=facts.record.model_copy(update={"trained_at": None}))).endswith(
        "the time of its training was not recorded)."
    )


@pytest.mark.soak
def test_an_external_run_keeps_threshold_and_temperature_of_the_study_that_trained_it(finished, noise, tmp_path):
    mapped = ExternalSection(classes={"mole": ["nevus"], "wart": ["malignant_melanoma"]})
    study = own(finished.study_file.study, mapped)
    workspace = workspace_of(tmp_path, study, noise)
    result = predict(workspace, study, run=str(finished.workspace.run(finished.run_id)))
    evaluate(workspace, study)
    page = Path(report(workspace, study).page)
    (there,) = finished.workspace.rows(
        "from operating_points semi join results using (run_id) "
        "where part = 'validation' and target = 'melanoma' limit 1"
    )
    here = workspace.rows("from operating_points")
    asked = "select temperature, cases, truth_id from temperatures semi join results using (run_id)"
    temperatures = [each.rows(asked) for each in (finished.workspace, workspace)]

    assert {(there["threshold"], "melanoma", "wart", "external")} == {
        (row["threshold"], row["target"], row["classes"], row["part"]) for row in here
    }
    assert temperatures[0] == temperatures[1]
    assert workspace.rows("select 1 from scores where metric = 'scaled_brier'")
    assert 49 == len(workspace.rows("from decision_curves"))
    # flagged by hand: the probability of the one class that the point has
    rows = workspace.rows("select truth, probabilities from scored where run_id = $run", {"run": result.run_id})
    flagged = [dict(row["probabilities"])["wart"] >= there["threshold"] for row in rows if row["truth"] == "wart"]
    (recall,) = [row for row in here if row["metric"] == "recall"]
    assert (np.mean(flagged), len(flagged)) == (recall["value"], recall["cases"])
    text = page.read_text(encoding="utf-8")
    assert "Thresholds were chosen on the validation set of the study that trained the run" in text
    assert "was fitted on the validation set of the study that trained the run; Calibration" in text
    assert "which was chosen on the validation set of the study that trained the run (rule" in text
    assert "on the validation set (rule" not in text


def test_an_operating_point_is_left_out_where_its_probability_cannot_be_had(finished):
    folder = finished.workspace.run(finished.run_id)
    both = {"basal_cell_carcinoma": "a", "malignant_melanoma": "b", "nevus": "c"}

    def names(mapped):
        return {point["name"] for point in frozen(folder, mapped)["operating_points"]}

    assert {"malignant", "melanoma"} == names(both)
    assert {"melanoma"} == names({name: own for name, own in both.items() if own != "a"})
    assert {"malignant"} == names(both | {"malignant_melanoma": "a"})
    assert set() == names(both | {"malignant_melanoma": "c"})


def test_thresholds_that_were_changed_are_refused(finished, tmp_path):
    folder = finished.workspace.run(finished.run_id)
    data = bytearray((folder / "operating_points.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "operating_points.parquet").write_bytes(data)

    with pytest.raises(DamagedError, match="operating_points"):
        frozen(tmp_path, {"nevus": "nevus"})
    assert {"temperature": None, "operating_points": []} == frozen(tmp_path / "nothing", {})


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
    """The files of the finished run and its split, without the registry and the ledger."""
    for name in ("runs", "splits"):
        ignored = shutil.ignore_patterns("predictions", "*.parquet")
        shutil.copytree(finished.workspace.folder / name, tmp_path / "there" / name, ignore=ignored)
    return tmp_path / "there" / "runs" / finished.run_id


def reseal(run: Path, **changed) -> None:
    """Forge the split of a run, and let run.json name the new seal."""
    record = json.loads((run / "run.json").read_text())
    split_seal = forging.forge(run.parents[1] / "splits" / record["split_id"], **changed)
    rewrite(run, split_seal=split_seal)


def rewrite(run: Path, **keys) -> None:
    """Change run.json and seal it again; its workspace has no ledger that would know the first one."""
    record = json.loads((run / "run.json").read_text()) | keys
    write_sealed(run / "run.json", {key: value for key, value in record.items() if value is not ...})


def test_a_patient_of_the_same_key_is_refused(tried, elsewhere):
    workspace = tried[0]
    patient = workspace.rows("select patient_id from cases limit 1")[0]["patient_id"]

    def come(rows):
        gone = next(each["patient_id"] for each in rows if each["part"] == "train")
        for each in rows:
            each["patient_id"] = patient if each["patient_id"] == gone else each["patient_id"]

    reseal(elsewhere, rows=come)

    with pytest.raises(LeakError, match=r"on the patients of [0-9]+ cases"):
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


def test_a_run_is_not_one_of_others_where_it_was_trained(finished):
    with pytest.raises(
        LeakError, match=r"was trained on \d\d+ of these photographs, and on the patients of \d\d+ cases"
    ):
        external.bring(finished.workspace, finished.workspace.run(finished.run_id))


@pytest.fixture(scope="module")
def fresh(finished, noise, tmp_path_factory):
    """The other hospital's workspace before any run was brought there."""
    study = own(finished.study_file.study)
    return workspace_of(tmp_path_factory.mktemp("fresh"), study, noise), study


@pytest.fixture
def here(fresh, tmp_path):
    copy = Workspace(tmp_path / "here")
    shutil.copytree(fresh[0].folder, copy.folder)
    return copy


def studied(run: Path, section: str, **keys) -> None:
    study = json.loads((run / "run.json").read_text())["study"]
    rewrite(run, study={**study, section: {**study[section], **keys}})


def only_test_rows(rows):
    rows[:] = [each for each in rows if each["part"] == "test"]


def split_of(run: Path) -> Path:
    return next((run.parents[1] / "splits").iterdir())


def unsealed_rows(run: Path) -> None:
    """What was reproduced: the rows that were trained on are deleted, and the run has seen no photograph."""
    rows = forging.rows_in(split_of(run))
    only_test_rows(rows)
    forging.write_rows(split_of(run), rows)


def fewer_rows(run: Path) -> None:
    """The split of another run, small and sound: it holds fewer cases than this run was trained on."""

    def few(rows):
        rows[:] = [each for each in rows if each["part"] != "train" or each["patient_id"][-1] in "13579bdf"]

    folder = split_of(run)
    forging.forge(folder, rows=few)
    stated = forging.stated_in(folder)
    forging.count_again(folder, stated)
    rewrite(run, split_seal=forging.seal(folder, stated))


def another_split(run: Path) -> None:
    forging.forge(split_of(run), stated=lambda stated: stated.update(seed=99))


def another_salt(run: Path) -> None:
    reseal(run, stated=lambda stated: stated.update(salt="0" * 16))


def flip(path: Path, *, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def weights_into_code(run: Path) -> None:
    """A pickled file instead of safetensors, noted in run.json as it should be."""
    add(run, "pytorch_model.bin", b"\x80\x04.")


def add(run: Path, name: str, data: bytes) -> None:
    (run / "checkpoint" / name).write_bytes(data)
    noted = json.loads((run / "run.json").read_text())["checkpoint_files"]
    rewrite(run, checkpoint_files={**noted, name: sha256_of_file(run / "checkpoint" / name)})


def configure(run: Path, file: str = "config.json", **keys) -> None:
    path = run / "checkpoint" / file
    document = json.loads(path.read_text()) if path.exists() else {}
    add(run, file, json.dumps({**document, **keys}).encode())


def link_out(run: Path) -> None:
    path = run / "checkpoint" / "model.safetensors"
    path.rename(run / "model.safetensors")
    path.symlink_to(run / "model.safetensors")


def folder_link_out(run: Path) -> None:
    (run / "checkpoint" / "further").symlink_to(run.parent)


def pipe(run: Path) -> None:
    os.mkfifo(run / "checkpoint" / "pipe.json")


def adapted(base: str):
    def change(run: Path) -> None:
        (run / "checkpoint" / "base.json").write_text(json.dumps({"name": base, "weights_sha256": "0" * 64}))
        (run / "checkpoint" / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
        files = {p.relative_to(run / "checkpoint").as_posix(): sha256_of_file(p) for p in files_in(run / "checkpoint")}
        model = json.loads((run / "run.json").read_text())["model"]
        rewrite(run, checkpoint_files=files, model={**model, "base_weights_sha256": "0" * 64})

    return change


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


FORGED = {
    "rows deleted": unsealed_rows,
    "rows deleted and sealed": lambda run: reseal(run, rows=only_test_rows),
    "a smaller split": fewer_rows,
    "another seal": another_split,
    "another salt": another_salt,
    "a seal of its own": lambda run: rewrite(run, split_seal="0" * 64),
    "no seal": lambda run: rewrite(run, split_seal=None),
    "no seal at all": lambda run: rewrite(run, split_seal=...),
    "a seal that is a list": lambda run: rewrite(run, split_seal=["0"]),
    "no digests": lambda run: rewrite(run, checkpoint_files=...),
    "digests are a list": lambda run: rewrite(run, checkpoint_files=["config.json"]),
    "a digest is a number": lambda run: rewrite(run, checkpoint_files={"config.json": 1}),
    "a digest is null": lambda run: rewrite(run, checkpoint_files={"config.json": None}),
    "digests are empty": lambda run: rewrite(run, checkpoint_files={}),
    "digests of files outside": lambda run: rewrite(run, checkpoint_files={"../../x": "0" * 64}),
    "no training cases": lambda run: rewrite(run, train_cases=0),
    "more training cases": lambda run: rewrite(run, train_cases=10_000),
    "training cases are a text": lambda run: rewrite(run, train_cases="many"),
    "path for a split": lambda run: rewrite(run, split_id="../../x"),
    "path for a run": lambda run: rewrite(run, run_id="../../../tmp/x"),
    "run is null": lambda run: rewrite(run, run_id=None),
    "an external run": lambda run: rewrite(run, external_of="00000000"),
    "half a control": lambda run: rewrite(run, control_of="00000000"),
    "backend of a module": lambda run: studied(run, "model", backend="evilmod:B"),
    "backend of the toolkit by its path": lambda run: studied(
        run, "model", backend="toolkit.models.classifier:ImageClassifier"
    ),
    "backend is a list": lambda run: studied(run, "model", backend=["instructblip"]),
    "backend is null": lambda run: studied(run, "model", backend=None),
    "no study": lambda run: rewrite(run, study=...),
    "study without training": lambda run: rewrite(
        run, study={k: v for k, v in json.loads((run / "run.json").read_text())["study"].items() if k != "train"}
    ),
    "classes are a number": lambda run: rewrite(run, study={"classes": 1}),
    "mode is a text": lambda run: studied(run, "train", mode="anything"),
    "record nested deeply": lambda run: (run / "run.json").write_bytes(b'{"a":' * 100_000),
    "record with a lone surrogate": lambda run: (run / "run.json").write_text('{"run_id": "\\ud800"}'),
    "a byte of the weights": lambda run: flip(run / "checkpoint" / "model.safetensors"),
    "a byte of the settings": lambda run: flip(run / "checkpoint" / "config.json"),
    "weights gone": lambda run: (run / "checkpoint" / "model.safetensors").unlink(),
    "checkpoint gone": lambda run: shutil.rmtree(run / "checkpoint"),
    "a further file": lambda run: (run / "checkpoint" / "adapter_config.json").write_text("{}"),
    "a further file below": lambda run: (run / "checkpoint" / "qformer_tokenizer" / "x.json").write_text("{}"),
    "pickled weights": weights_into_code,
    "code": lambda run: add(run, "modeling.py", b"raise SystemExit('run')"),
    "a pipe": pipe,
    "a link out of the folder": link_out,
    "a folder's link out of the folder": folder_link_out,
    "a class of the hub": lambda run: configure(run, auto_map={"AutoModel": "evil/repo--modeling.Evil"}),
    "a class of the hub further down": lambda run: configure(run, text_config={"auto_map": {"AutoModel": "e--m.E"}}),
    "a kernel of the hub": lambda run: configure(run, attn_implementation="evil/kernel"),
    "settings nested deeply": lambda run: add(run, "config.json", b'{"a":' * 100_000),
    "base on the hub": adapted("evil/model"),
    "base outside": adapted("/"),
    "base above": adapted("../../../.."),
    "base is no text": lambda run: (adapted("x")(run), configure(run, "base.json", name=1)),
}


@pytest.mark.soak_after(12)
@pytest.mark.parametrize("name", FORGED)
def test_a_forged_run_is_refused_and_none_of_its_code_is_run(fresh, here, elsewhere, tmp_path, monkeypatch, name):
    (tmp_path / "evilmod.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass B: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    FORGED[name](elsewhere)

    with pytest.raises(ToolkitError) as refused:
        predict(here, fresh[1], run=str(elsewhere))
    assert refused.value.problem
    assert not (tmp_path / "ran").exists()
    assert not list((here.folder / "runs").glob("*/predictions/*"))


def test_a_true_run_without_its_registry_and_ledger_is_tried(fresh, here, elsewhere):
    """What the forgeries above start from is taken, and patients are compared by the key that the run noted."""
    result = predict(here, fresh[1], run=str(elsewhere))

    assert 8 == result.scored_now
    assert not result.patients_compared
    assert 8 == len(json.loads((elsewhere / "run.json").read_text())["key_fingerprint"])


def test_a_true_adapter_is_taken_with_its_base_in_its_own_workspace_or_in_this_study(fresh, elsewhere):
    checkpoint = elsewhere / "checkpoint"
    base = elsewhere.parents[1] / "models" / "tiny-00000000"
    base.mkdir(parents=True)
    adapted("../../../models/tiny-00000000")(elsewhere)
    external.check_base(fresh[1], checkpoint)

    (elsewhere.parent / "00000000" / "checkpoint").mkdir(parents=True)
    adapted("../../00000000/checkpoint")(elsewhere)  # adapters of a training that started from a run there
    external.check_base(fresh[1], checkpoint)

    adapted(fresh[1].model.name)(elsewhere)
    external.check_base(fresh[1], checkpoint)

    (base / "modeling.py").write_text("")
    adapted("../../../models/tiny-00000000")(elsewhere)
    with pytest.raises(ModelError, match="may hold no code"):
        external.check_base(fresh[1], checkpoint)


def test_patients_are_compared_by_the_noted_key_and_a_strangers_registry_is_never_opened(here, elsewhere):
    (elsewhere.parents[1] / "registry.duckdb").write_bytes(b"hostile")
    key = here.rows("select key_fingerprint from label_states")[0]["key_fingerprint"]

    assert not external.bring(here, elsewhere).leaks["patients_compared"]
    rewrite(elsewhere, key_fingerprint=key)
    assert external.bring(here, elsewhere).leaks["patients_compared"]
    rewrite(elsewhere, key_fingerprint=...)
    assert not external.bring(here, elsewhere).leaks["patients_compared"]


@pytest.mark.soak
def test_cases_that_were_withdrawn_there_are_said_not_to_be_compared(fresh, here, finished, tmp_path):
    there = Workspace(tmp_path / "there")
    shutil.copytree(finished.workspace.folder, there.folder)
    gone = there.rows("select patient_id, case_id from splits join cases using (case_id) where part = 'train' limit 1")[
        0
    ]
    clean_splits(there, gone["patient_id"], {gone["case_id"]}, date="2026-01-01")
    result = predict(here, fresh[1], run=str(there.run(finished.run_id)))
    rendered(result)

    assert 1 <= result.unknown_there
    shutil.rmtree(there.folder / "ledgers")
    with pytest.raises(LeakError, match="not the split that the run was trained on"):
        external.bring(here, there.run(finished.run_id))


def test_a_record_that_its_own_ledger_does_not_know_is_refused(here, finished, tmp_path):
    there = Workspace(tmp_path / "there")
    shutil.copytree(finished.workspace.folder, there.folder)
    rewrite(there.run(finished.run_id), train_cases=115)

    with pytest.raises(ModelError, match="not the one that was noted in the ledger"):
        external.bring(here, there.run(finished.run_id))


@pytest.mark.soak
def test_the_checkpoint_is_compared_again_when_a_recorded_run_is_used(fresh, here, elsewhere):
    result = predict(here, fresh[1], run=str(elsewhere))
    shutil.rmtree(here.run(result.run_id) / "predictions")
    flip(elsewhere / "checkpoint" / "model.safetensors")

    with pytest.raises(DamagedError, match="changed or damaged") as refused:
        predict(here, fresh[1], run=result.run_id)
    assert refused.value.place.endswith("model.safetensors")


def test_a_recorded_external_run_may_still_name_built_in_backends_only(fresh, here, elsewhere):
    result = predict(here, fresh[1], run=str(elsewhere))
    record = read_run(here, result.run_id)
    study = {**record.study, "model": {**record.study["model"], "backend": "evilmod:B"}}
    record_run(here, record.model_copy(update={"study": study}))

    with pytest.raises(ModelError, match="may not choose the code"):
        predict(here, fresh[1], run=result.run_id)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "qformer_tokenizer/tokenizer.json"])
def test_a_changed_checkpoint_of_our_own_is_named_before_it_is_loaded(copied, finished, name):
    shutil.rmtree(copied.run(finished.run_id) / "predictions")
    flip(copied.run(finished.run_id) / "checkpoint" / name)

    with pytest.raises(DamagedError, match="changed or damaged") as refused:
        predict(copied, finished.study_file.study, run=finished.run_id)
    assert refused.value.place.endswith(name)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("content", [None, b"{", b"[" * 100_000, b'{"study": "\\ud800"}'])
def test_a_report_never_drops_what_its_certificate_states(copied, finished, content):
    split_id = finished.results["Split"].split_id
    path = copied.split(split_id) / "certificate.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    for command in (report, evaluate, predict):
        with pytest.raises(LeakError, match="no readable certificate") as refused:
            command(copied, finished.study_file.study, run=finished.run_id)
        assert str(path) == refused.value.place


@pytest.mark.soak
def test_a_split_without_its_folder_is_missed_where_the_ledger_knows_it(copied, finished):
    shutil.rmtree(copied.folder / "splits")

    with pytest.raises(LeakError, match="no readable certificate"):
        report(copied, finished.study_file.study, run=finished.run_id)
    shutil.rmtree(copied.folder / "ledgers")
    page = Path(report(copied, finished.study_file.study, run=finished.run_id).page).read_text(encoding="utf-8")

    assert "its folder is gone" in page


def test_a_report_notices_a_split_that_was_sealed_again(copied, finished):
    forging.forge(copied.split(finished.results["Split"].split_id), stated=lambda stated: stated.update(seed=99))

    for command in (report, evaluate, predict):
        with pytest.raises(LeakError, match="noted in the ledger"):
            command(copied, finished.study_file.study, run=finished.run_id)
