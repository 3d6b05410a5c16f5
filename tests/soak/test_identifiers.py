"""What leads to a person is found nowhere but in the landed exports: whole, killed, failed and withdrawn."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

from fakes.labelbox_server import KEY, Server
from faults import Commands, Fault
from search_identifiers import SIGNED, Place, identifiers_of_row, planted, search

from toolkit.synthetic import sample

KILLS, FIRST, STEP = 4, 2, 9
"""Kills of each command: how many, at which operation the first, and how much later each next one."""
LINE = [["audit"], ["split"], ["train", "--resume"], ["predict"], ["evaluate"], ["report"]]


class Surroundings:
    """A sample, a workspace, and wherever else a command could write: home, configuration, temporary files."""

    def __init__(self, folder: Path) -> None:
        self.sample = sample(folder / "sample", cases=60, seed=15)
        text = self.sample.study.read_text(encoding="utf-8")
        text = text.replace("epochs = 20", "epochs = 2").replace("replicates = 2000", "replicates = 100")
        self.sample.study.write_text(f'{text}\n[pull]\nhosts = ["127.0.0.1"]\nallow_private = true\n', encoding="utf-8")
        self.names = planted(self.sample.folder)
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.folder, self.workspace = folder, folder / "w"
        self.environment = {
            **dict.fromkeys(("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(self.elsewhere)),
            "LABELBOX_API_KEY": KEY,
        }
        self.texts: dict[str, str] = {}

    def run(self, commands: Commands, *arguments: object, fault: Fault | None = None):
        """Run a command and keep what it printed."""
        where = ["--study", self.sample.study, "--workspace", self.workspace]
        done = commands.run([*where, *arguments], fault=fault)
        self.texts[f"printed by {arguments[0]} {len(self.texts)}"] = done.stdout + done.stderr
        return done

    def outside_exports(self, *more: str) -> list[Place]:
        """Return where an identifier stands that should not; what is in exports must be its user's alone."""
        inside = self.workspace / "exports"
        exports = {path for path in inside.rglob("*") if path.is_file()}
        assert {0o600} >= {stat.S_IMODE(path.stat().st_mode) for path in exports}
        places = search([self.workspace, self.elsewhere], {*self.names, KEY, *more}, self.texts)
        return [place for place in places if place.path.parent != inside or place.identifier == KEY]


@pytest.fixture
def around(tmp_path):
    return Surroundings(tmp_path)


@pytest.fixture
def commands(around):
    with Commands(around.folder, around.environment) as commands:
        yield commands


def parse(around):
    return ["parse", around.sample.export, "--images", around.sample.images]


def test_after_a_whole_run_every_answer_and_a_withdrawal(around, commands):
    assert 0 == around.run(commands, "run", *parse(around)[1:]).code
    for arguments in (
        *(["report", "--audience", "shared"], ["status"], ["--json", "status"], ["rebuild"]),
        *(["verify", path] for path in sorted((around.workspace / "splits").iterdir())),
        *(
            ["query", "--sql", f"from {table}", "--format", "csv"]
            for table in ("patients", "labels", "readings", "answers")
        ),
        *(["query", "--sql", "from ingest_issues"], ["query", "--sql", "from findings"]),
    ):
        assert 0 == around.run(commands, *arguments).code, arguments

    assert [] == around.outside_exports()

    row = next(row for row in rows_of(around) if identifiers_of_row(row) & around.names)
    patient = next(field["value"] for field in row["metadata_fields"] if field["schema_name"] == "patient_id")
    own = {each for each in identifiers_of_row(row) if "@" not in each} | {row["data_row"]["id"]}
    around.run(commands, "withdraw", patient, "--apply")

    assert [] == search([around.workspace, around.elsewhere], own)


def test_after_kills_of_every_command(around, commands):
    for arguments in (parse(around), *LINE):
        whole = around.run(commands, *arguments, fault=Fault("kill", at=FIRST))
        for number in range(KILLS):
            # What a kill leaves, the same command finishes: the later ones find less to do, and may end by themselves.
            around.run(commands, *arguments, fault=Fault("kill", at=FIRST + number * STEP))

            assert [] == around.outside_exports(), (arguments[0], number)
        assert whole.code < 0
        assert 0 == around.run(commands, *arguments).code, arguments[0]


@pytest.mark.parametrize(
    "faults",
    [
        {"GetProjectsPyApi": ["OPERATION_NOT_ALLOWED"]},
        {"chunk": ["cut"] * 9},
        {"chunk": ["404"] * 9},
        {"GetExportFileFromOffsetPyApi": ["AUTHENTICATION_ERROR"] * 9},
        {"GetExportMetadataHeaderPyApi": ["500"] * 9},
        {"/photographs/1.jpg": ["403"] * 9},
        {},
    ],
    ids=lambda faults: next(iter(faults), "none"),
)
def test_after_a_pull_that_fails(around, faults):
    exported = rows_of(around)[:10]
    with Server(b"") as server:
        for number, row in enumerate(exported):
            row["data_row"]["row_data"] = f"{server.url}/photographs/{number}.jpg?Signature=SECRET-SIGNATURE"
            photograph = next(around.sample.images.iterdir())
            server.files[f"/photographs/{number}.jpg"] = ("image/jpeg", photograph.read_bytes())
        server.export = "".join(f"{json.dumps(row)}\n" for row in exported).encode()
        server.faults.update(faults)
        with Commands(around.folder, {**os.environ, **around.environment, **server.environment}) as commands:
            done = around.run(commands, "pull")
            around.run(commands, "--json", "status")

    assert (0 if not faults or "/photographs/1.jpg" in faults else 1) == done.code, done.stderr
    assert [] == around.outside_exports("SECRET-SIGNATURE", *SIGNED)


def test_a_synthetic_export_without_photographs_leaves_its_identifiers_in_exports_only(tmp_path):
    """The synthetic export without photographs, of another seed and with every stage."""
    around = Surroundings(tmp_path / "own")
    drawn = sample(tmp_path / "large", cases=2_000, seed=99, stage=3, photographs=False)
    around.names |= planted(drawn.folder)
    with Commands(around.folder, around.environment) as commands:
        done = [around.run(commands, *each) for each in (["parse", drawn.export], ["split"], ["status"], ["rebuild"])]

    assert [0] * 4 == [each.code for each in done]
    assert [] == around.outside_exports()


def rows_of(around):
    return [json.loads(line) for line in around.sample.export.read_text(encoding="utf-8").splitlines()]
