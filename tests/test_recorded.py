"""What was recorded is compared with what is there when it is used next: exports, run records, splits."""

import json
import shutil
from datetime import datetime, timedelta

import exports
import forging
import pytest
from exports import label, row
from PIL import Image

from toolkit.errors import DamagedError, LeakError, ToolkitError
from toolkit.files import SEAL, sha256_of, sha256_of_file, short_id, write_sealed
from toolkit.pipeline import rebuild
from toolkit.prompts.answers import answers_of
from toolkit.prompts.prompt import prompts_of
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.report import report
from toolkit.stages.train import train
from toolkit.stages.withdraw import withdraw
from toolkit.workspace import ledger
from toolkit.workspace.landed import landed_exports
from toolkit.workspace.runs import now, part_cases, read_run

ROWS = [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"Patient-{n}") for n in range(4)]


def content_hash(workspace) -> str:
    return workspace.rows("select content_hash from label_states")[0]["content_hash"]


@pytest.fixture
def landed(parsed, tmp_path):
    """A workspace, its landed export, and the file that it came from."""
    workspace = parsed(*ROWS)
    return workspace, landed_exports(workspace)[0].path, exports.write(tmp_path / "again.ndjson", ROWS)


def relabelled(path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"nevus"', b'"naevi"', 1))


@pytest.mark.soak
def test_a_landed_export_that_was_changed_is_named_and_the_true_file_puts_it_right(landed, study, key):
    workspace, path, original = landed
    before = content_hash(workspace)
    relabelled(path)

    with pytest.raises(DamagedError, match="changed or damaged") as caught:
        parse(workspace, study, key, [])
    parse(workspace, study, key, [original])

    assert str(path) == caught.value.place
    assert "parse the file that it came from again" in caught.value.remedy
    assert before == content_hash(workspace)
    assert original.read_bytes() == path.read_bytes()


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"source": 1, "images": 7, "seal": "x"}', b"\xff\xfe"])
def test_a_damaged_sidecar_is_named_and_the_true_file_puts_it_right(landed, study, key, content):
    workspace, path, original = landed
    sidecar = path.with_suffix(".json")
    sidecar.write_bytes(content)

    with pytest.raises(DamagedError) as caught:
        parse(workspace, study, key, [])
    parse(workspace, study, key, [original])

    assert str(sidecar) == caught.value.place
    assert json.loads(sidecar.read_bytes())["bytes"] == path.stat().st_size


@pytest.mark.soak
def test_an_export_whose_landing_was_cut_short_has_landed(landed, study, key):
    """A kill between the export and its sidecar: the rows are on the disk, so that a withdrawal must find them."""
    workspace, path, _ = landed
    path.with_suffix(".json").unlink()
    parse(workspace, study, key, [])
    told = withdraw(
        workspace, study, key, "Patient-2", reparse=lambda: parse(workspace, study, key, [], anew=True), apply=True
    )
    left = b"".join(each.path.read_bytes() for each in landed_exports(workspace))

    assert (1, []) == (told.rows, told.left_in)
    assert told.searched > 3
    assert b"Patient-2" not in left
    assert b"Patient-1" in left


def test_a_withdrawal_tells_of_a_file_that_still_holds_the_patient(landed, study, key):
    workspace, _, _ = landed
    (workspace.folder / "queries").mkdir()
    (workspace.folder / "queries" / "mine.sql").write_text("-- Where is patient-2?\nselect 1")
    told = withdraw(
        workspace, study, key, "Patient-2", reparse=lambda: parse(workspace, study, key, [], anew=True), apply=True
    )

    assert ["queries/mine.sql"] == told.left_in


def rewritten(path, **changed) -> dict:
    document = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps(document))
    return document


def test_a_rewritten_record_of_a_run_is_named_even_where_its_seal_was_made_again(finished, copied):
    path = copied.run(finished.run_id) / "run.json"
    document = rewritten(path, train_cases=9999)

    with pytest.raises(DamagedError, match="changed or damaged") as caught:
        read_run(copied, finished.run_id)
    assert str(path) == caught.value.place
    for seal in ({SEAL: sha256_of({key: value for key, value in document.items() if key != SEAL})}, {SEAL: None}):
        rewritten(path, **seal)
        with pytest.raises(DamagedError, match="changed or damaged"):
            read_run(copied, finished.run_id)


def test_what_a_command_could_not_do_leaves_no_export_behind(workspace, study, key, tmp_path):
    bad = tmp_path / "bad.ndjson"
    bad.write_text('{"nothing": 1}\n')

    with pytest.raises(ToolkitError):
        parse(workspace, study, key, [bad])
    assert [] == [path for path in workspace.folder.rglob("*") if path.is_file()]
    shutil.rmtree(workspace.folder)


@pytest.mark.soak_after(3)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"finished_at": datetime(2099, 1, 1)}, "in the future"),  # noqa: DTZ001 - records hold UTC without a zone
        ({"trained_at": datetime(2099, 1, 1)}, "in the future"),  # noqa: DTZ001 - the same
        ({"trained_at": now() - timedelta(days=9), "finished_at": now() - timedelta(days=99)}, "before its training"),
        ({"seconds": -1.0}, "took no time"),
        ({"train_patients": 10_000}, "more patients than cases"),
        ({"epochs": lambda epochs: epochs[1:]}, "not numbered from 1"),
        ({"epochs": lambda epochs: [*epochs, epochs[-1].model_copy(update={"epoch": 6})]}, "6 epochs, and 5 were"),
        ({"epochs": lambda epochs: [each.model_copy(update={"kept": True}) for each in epochs]}, "several epochs"),
        ({"epochs": lambda epochs: [each.model_copy(update={"step": 3}) for each in epochs]}, "do not grow"),
    ],
)
def test_a_record_that_contradicts_itself_is_named_even_where_the_ledger_knows_it(finished, copied, changed, message):
    record = read_run(copied, finished.run_id)
    update = {key: value(record.epochs) if callable(value) else value for key, value in changed.items()}
    path = copied.run(finished.run_id) / "run.json"
    write_sealed(path, record.model_copy(update=update).document())
    entry = {"kind": "run", "run_id": record.run_id, "record_sha256": sha256_of_file(path), "split_id": record.split_id}
    ledger.append(copied, [entry])

    with pytest.raises(DamagedError, match=message) as caught:
        read_run(copied, finished.run_id)
    assert str(path) == caught.value.place


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"finished_at": datetime(2001, 1, 1)}, "before its split was made"),  # noqa: DTZ001 - the same
        ({"train_cases": 9999}, "9999 cases of part train"),
        ({"validation_cases": 9999}, "9999 cases of part validation"),
    ],
)
def test_a_record_that_does_not_fit_its_split_is_named(finished, copied, changed, message):
    record = read_run(copied, finished.run_id)
    path = copied.run(finished.run_id) / "run.json"
    write_sealed(path, record.model_copy(update=changed).document())
    entry = {"kind": "run", "run_id": record.run_id, "record_sha256": sha256_of_file(path), "split_id": record.split_id}
    ledger.append(copied, [entry])

    for command in (predict, report):
        with pytest.raises(DamagedError, match=message):
            command(copied, finished.study_file.study, run=finished.run_id)


@pytest.mark.soak
def test_rebuild_names_a_split_that_was_sealed_again_and_passes_over_one_without_certificate(finished, copied):
    split_id = finished.results["Split"].split_id
    left = copied.split("00000000")
    left.mkdir()
    shutil.copy(copied.split(split_id) / "cases.csv", left)
    rebuild(copied, finished.study_file)

    assert [split_id] == [row["split_id"] for row in copied.rows("select distinct split_id from splits")]
    forging.forge(copied.split(split_id), stated=lambda stated: stated.update(seed=99))
    with pytest.raises(LeakError, match="noted in the ledger"):
        rebuild(copied, finished.study_file)


@pytest.mark.soak
def test_a_photograph_that_was_changed_and_parsed_again_is_named_by_train_and_predicted_anew_by_predict(
    finished, copied, tmp_path
):
    """The split is pinned, so that its ID stays: neither run nor predictions are said to be there already."""
    study, run_id = finished.study_file.study, finished.run_id
    seen = {
        part: copied.rows(
            "select case_id, image_id, path from splits join cases using (case_id) join images using (image_id) "
            f"where part = '{part}' order by case_id limit 1"
        )[0]
        for part in ("train", "test")
    }
    before = {path.name for path in (copied.run(run_id) / "predictions").iterdir()}
    assert 0 == predict(copied, study, run=run_id).scored_now
    train(copied, study, study_folder=finished.study_file.folder)

    for part, one in seen.items():
        path = tmp_path / f"{part}.png"
        Image.open(one["path"]).convert("RGB").rotate(90).save(path)
        with copied.writing() as connection:
            connection.execute(
                "update images set path = ?, sha256 = ? where image_id = ?",
                [str(path), sha256_of_file(path), one["image_id"]],
            )
    with pytest.raises(DamagedError, match=f"other photographs of 1 cases .*{seen['train']['case_id']}"):
        train(copied, study, study_folder=finished.study_file.folder)
    again = predict(copied, study, run=run_id)
    after = {path.name for path in (copied.run(run_id) / "predictions").iterdir()}

    assert again.cases["test"] == again.scored_now
    assert {"test"} == {name.partition("-")[0] for name in before - after}
    (copied.run(run_id) / "photographs.json").unlink()  # as earlier versions left it
    train(copied, study, study_folder=finished.study_file.folder)


def test_predictions_of_an_earlier_version_are_taken_as_they_are(finished, copied):
    """Their files were named without the photographs' digests."""
    study, folder = finished.study_file.study, copied.run(finished.run_id) / "predictions"
    noted = json.loads((copied.run(finished.run_id) / "predictions.json").read_text())["parts"]
    answers = answers_of(study)
    earlier = {}
    for part, (name,) in noted.items():
        cases = part_cases(copied, finished.results["Split"].split_id, part)
        prompts = prompts_of(copied, study, [case.case_id for case in cases]).texts
        sources = [[case.case_id, case.case_id, case.roi] for case in cases]
        digest = short_id([sources, prompts, [answers, study.predict.views, study.predict.generate]])
        earlier[part] = [f"{part}-00000-{digest}.parquet"]
        (folder / name).rename(folder / earlier[part][0])
    write_sealed(copied.run(finished.run_id) / "predictions.json", {"parts": earlier})

    assert 0 == predict(copied, study, run=finished.run_id).scored_now
    assert sorted(name for names in earlier.values() for name in names) == sorted(p.name for p in folder.iterdir())
