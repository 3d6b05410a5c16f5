"""What was recorded is compared on use: photographs, cached features, the tiny checkpoint, reports, losses."""

import shutil
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from toolkit import console
from toolkit.errors import DamagedError
from toolkit.files import check_digests, private_writing, write_digests
from toolkit.photographs.opening import read_parsed
from toolkit.pipeline import rebuild
from toolkit.stages.audit import audit
from toolkit.stages.claims import claims
from toolkit.stages.parse import parse
from toolkit.stages.predict import predict
from toolkit.stages.report import report
from toolkit.stages.report.audit_page import audit_page
from toolkit.stages.train import train


@contextmanager
def flipped(path: Path, at: float = 0.5):
    """Change one byte of a file for the block; `at` is its place, from 0 for the first to 1 for the last."""
    good = path.read_bytes()
    place = round(at * (len(good) - 1))
    path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
    try:
        yield
    finally:
        path.write_bytes(good)


def modes(folder: Path) -> set[str]:
    """Return the modes of all files and folders that others may read, with their names."""
    paths = [folder, *folder.rglob("*")]
    return {f"{path}: {stat.filemode(path.stat().st_mode)}" for path in paths if path.stat().st_mode & 0o077}


def photograph_of(workspace, part: str) -> dict:
    tables = "splits join cases using (case_id) join images using (image_id)"
    sql = f"select case_id, image_id, path from {tables} where part = $part order by all"
    return workspace.rows(sql, {"part": part})[0]


def test_bytes_of_a_photograph_are_those_that_were_parsed_or_refused_by_the_name_given(tmp_path):
    (tmp_path / "PAT_7.jpg").write_bytes(b"one")

    assert b"one" == read_parsed(tmp_path / "PAT_7.jpg", None, name="case c1")
    with pytest.raises(DamagedError, match="case c1") as caught:
        read_parsed(tmp_path / "PAT_7.jpg", "0" * 64, name="case c1")
    assert "PAT_7" not in str(caught.value)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("control", [None, "shuffled", "border"])
def test_a_changed_photograph_is_not_predicted_on(own_photographs, finished, control):
    photograph = photograph_of(own_photographs, "test")
    shutil.rmtree(own_photographs.run(finished.run_id) / "predictions")
    (own_photographs.run(finished.run_id) / "predictions.json").unlink()
    with flipped(Path(photograph["path"])), pytest.raises(DamagedError, match="not the one that was parsed") as caught:
        predict(own_photographs, finished.study_file.study, parts=("test",), control=control)

    assert "case " in caught.value.place
    assert Path(photograph["path"]).name not in str(caught.value)


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_changed_photograph_is_not_trained_on(own_photographs, finished, part):
    photograph = photograph_of(own_photographs, part)
    study = finished.study_file.study
    other = study.model_copy(update={"train": study.train.model_copy(update={"epochs": 1})})

    with flipped(Path(photograph["path"]), at=1), pytest.raises(DamagedError, match=photograph["case_id"]):
        train(own_photographs, other, study_folder=finished.study_file.folder)


@pytest.mark.soak
def test_a_changed_photograph_is_neither_searched_nor_shown(own_photographs, finished):
    study = finished.study_file.study
    photograph = photograph_of(own_photographs, "test")
    with own_photographs.writing() as connection:
        connection.execute("delete from duplicate_searches")
    with flipped(Path(photograph["path"])):
        with pytest.raises(DamagedError, match=photograph["image_id"]):
            audit(own_photographs)
        with pytest.raises(DamagedError, match=photograph["case_id"]):
            report(own_photographs, study)
    audit(own_photographs)
    pair = own_photographs.rows("select path from duplicates join images using (image_id)")[0]
    with flipped(Path(pair["path"])), pytest.raises(DamagedError, match="not the one that was parsed"):
        audit_page(own_photographs, study)


@pytest.mark.soak
def test_the_tiny_checkpoint_is_built_whole_and_a_changed_file_of_it_is_named(copied, finished):
    study = finished.study_file.study
    other = study.model_copy(update={"train": study.train.model_copy(update={"epochs": 1})})
    (tiny,) = (copied.folder / "models").iterdir()
    assert set() == modes(tiny.parent)
    for path in sorted(path for path in tiny.rglob("*") if path.is_file()):
        with flipped(path), pytest.raises(DamagedError, match=path.name):
            train(copied, other, study_folder=finished.study_file.folder)


@pytest.mark.soak
def test_a_tiny_checkpoint_without_digests_is_built_again(copied, finished):
    study = finished.study_file.study
    other = study.model_copy(update={"train": study.train.model_copy(update={"epochs": 1})})
    (tiny,) = (copied.folder / "models").iterdir()
    weights = (tiny / "model.safetensors").read_bytes()
    (tiny / "digests.json").unlink()
    (tiny / "model.safetensors").write_bytes(b"half")
    train(copied, other, study_folder=finished.study_file.folder)

    assert weights == (tiny / "model.safetensors").read_bytes()
    check_digests(tiny, remedy="")


def test_nothing_of_a_run_can_be_read_by_others(finished):
    assert set() == modes(finished.workspace.run(finished.run_id))


def test_what_a_library_writes_is_private_and_the_umask_is_as_before(tmp_path):
    with private_writing():
        (tmp_path / "private").mkdir()
        (tmp_path / "private" / "file").write_text("")
    (tmp_path / "open").write_text("")

    assert set() == modes(tmp_path / "private")
    assert 0o644 == (tmp_path / "open").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "a").write_bytes(b"x"), "a"),
        (lambda folder: (folder / "below" / "b").unlink(), "b"),
        (lambda folder: (folder / "c").write_bytes(b""), "c"),
        (lambda folder: (folder / "digests.json").write_text('{"files": {}}'), "a"),
        (lambda folder: (folder / "digests.json").write_text('{"files": 3}'), "digests.json"),
        (lambda folder: (folder / "digests.json").write_text("["), "digests.json"),
    ],
)
def test_a_file_that_was_changed_or_is_gone_or_new_is_named(tmp_path, change, named):
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "below" / "b").write_bytes(b"b")
    write_digests(tmp_path)
    check_digests(tmp_path, remedy="")
    change(tmp_path)

    with pytest.raises(DamagedError) as caught:
        check_digests(tmp_path, remedy="")
    assert named == Path(caught.value.place).name


@pytest.mark.soak
def test_the_files_of_a_report_are_those_that_were_written(copied, finished):
    folder = copied.reports / finished.run_id
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert 20 < len(files)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    listed = (folder / "SHA256SUMS").read_text().splitlines()
    assert {path.relative_to(folder).as_posix() for path in files} - {"SHA256SUMS"} == {row[66:] for row in listed}
    claims(folder)
    for path in files:
        for at in (0, 0.5, 1):
            with flipped(path, at), pytest.raises(DamagedError, match=path.name):
                claims(folder)
    (folder / "epochs.csv").unlink()
    with pytest.raises(DamagedError, match=r"epochs\.csv"):
        claims(folder)


def test_losses_are_a_copy_of_the_record_and_written_again(copied, finished):
    path = copied.run(finished.run_id) / "loss.csv"
    good = path.read_bytes()
    path.write_bytes(good[:-9])
    train(copied, finished.study_file.study, study_folder=finished.study_file.folder)

    assert good == path.read_bytes()
    assert b"epoch,step,train_loss" == good[:21]


@pytest.mark.soak
def test_photographs_that_changed_since_they_were_parsed_are_named_by_parse_and_rebuild(
    copied, finished, capsys, tmp_path
):
    file, own = finished.study_file, Path(shutil.copytree(finished.images, tmp_path / "images"))
    parse(copied, file.study, file.key(copied), [finished.export], images=own)
    photograph = photograph_of(copied, "test")
    assert Path(photograph["path"]).is_relative_to(own)
    assert [] == parse(copied, file.study, file.key(copied), []).photographs_changed
    with flipped(Path(photograph["path"])):
        rebuilt = rebuild(copied, file)
        assert [photograph["image_id"]] == rebuilt.photographs_changed
        assert [] == parse(copied, file.study, file.key(copied), []).photographs_changed
    parsed = parse(copied, file.study, file.key(copied), [])
    assert [photograph["image_id"]] == parsed.photographs_changed
    console.show(parsed, as_json=False)
    assert photograph["image_id"] in capsys.readouterr().out


@pytest.mark.parametrize("at", [0.3, 0.5])
def test_a_registry_with_a_changed_block_says_how_to_make_it_anew(copied, at):
    data = bytearray(copied.registry.read_bytes())
    for place in range(int(at * len(data)), len(data), 4096):  # many, since not every block is in use
        data[place] ^= 0x55
    copied.registry.write_bytes(data)

    with pytest.raises(DamagedError, match="toolkit rebuild"):
        for table in ("cases", "predictions", "scores", "labels", "answers", "objects", "metadata", "readings"):
            copied.rows(f"select * from {table}")
