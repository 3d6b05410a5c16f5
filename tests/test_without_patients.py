"""A study whose photographs name no patients: nothing that is written for people speaks of any."""

import csv
import html
import json
import re
from pathlib import Path

import exports
import exports_of_truth
import numpy as np
import pytest
from exports import label

from toolkit.cli import main

pytestmark = pytest.mark.soak
CLASSES = {"melanoma": True, "nevus": False, "wart": False}
NAMES = [f"MILK-{n:04}" for n in range(150)]
COMMANDS = (
    "parse export.ndjson",
    "audit",
    "split",
    "verify {split}",
    "baseline",
    "predict --from one.csv --model-name one",
    "predict --from two.csv --model-name two",
    "evaluate --run {baseline}",
    "evaluate --run {one}",
    "evaluate --run {two}",
    "compare {one} {two}",
    "report --run {baseline}",
    "report --run {one}",
    "report --run {one} --audience shared",
    "report --run {two} --audience shared",
    "plan-size --run {one}",
    "status",
)
SPOKEN = re.compile(r"\bpatients\b", re.IGNORECASE)
CODE = re.compile(r"(?s)<(script|style|pre|code)\b.*?</\1>")
ATTRIBUTE = re.compile(r'(?:title|aria-label|placeholder|alt)="([^"]*)"')


def written(folder: Path) -> None:
    """A study with metadata and without patients, its export, and the predictions of two models."""
    export = exports_of_truth.export(
        folder / "export.ndjson", {name: list(CLASSES)[n % 3] for n, name in enumerate(NAMES)}, known=False
    )
    rows = [json.loads(line) for line in export.read_text().splitlines()]
    for n, row in enumerate(rows):
        kind = {"schema_id": "m2", "schema_name": "sex", "schema_kind": "CustomMetadataString"}
        row["metadata_fields"] = [{**kind, "value": ("female", "male")[(n // 3) % 2]}]
    rows[4]["projects"]["project-1"]["labels"].append(label("L-other", "wart", by="reader2@example.org"))
    exports.write(export, rows)
    file = exports_of_truth.study_file(folder / "study.toml", CLASSES, labelbox='patient_from = "none"')
    text = (
        file.read_text()
        .replace("external = true", "")
        .replace("replicates = 100", 'replicates = 100\ngroups = ["sex"]')
    )
    file.write_text(text + '\n[baseline]\nfields = ["sex"]\n')
    for seed, model in enumerate(("one", "two")):
        values = np.random.default_rng(seed).dirichlet(np.ones(3), len(NAMES))
        lines = [",".join([name, *map(str, row)]) for name, row in zip(NAMES, values.tolist(), strict=True)]
        (folder / f"{model}.csv").write_text("\n".join(["file,melanoma,nevus,wart", *lines]))


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """What every command wrote in the terminal, and the folder of all pages."""
    folder = tmp_path_factory.mktemp("milk")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    written(folder)
    said, known = {}, {}
    for command in COMMANDS:
        said[command] = told(command.format(**known).split())
        known |= {"split": str(next(iter((folder / "workspace/splits").glob("[!.]*")), ""))}
        for path in (folder / "workspace/runs").glob("*/run.json"):
            name = json.loads(path.read_text())["model"]["name"]
            known[name.replace("metadata-", "")] = path.parent.name
    patch.undo()
    return said, folder / "workspace" / "reports"


def told(arguments: list[str]) -> str:
    import contextlib
    import io

    from toolkit.console import text

    out = io.StringIO()
    text.stdout.file = text.stderr.file = out
    try:
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
            main(["--quiet", *arguments])
    finally:
        text.stdout.file = text.stderr.file = None  # whatever sys.stdout and sys.stderr are then
    assert 0 == ended.value.code, out.getvalue()
    return " ".join(out.getvalue().split())


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_speaks_of_patients(line, command):
    said, _ = line

    assert said[command]
    assert [] == around(said[command])


def around(text: str) -> list[str]:
    return [text[max(found.start() - 60, 0) : found.end() + 40] for found in SPOKEN.finditer(text)]


def test_no_sentence_and_no_table_head_of_a_page_speaks_of_patients(line):
    pages = sorted(line[1].rglob("index.html"))  # the glossary beside each explains words, also those that are not used
    found = {}
    for page in pages:
        text = CODE.sub("", page.read_text(encoding="utf-8"))
        seen = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
        if spoken := [*around(seen), *(one for one in ATTRIBUTE.findall(text) if SPOKEN.search(one))]:
            found[page.parent.name] = spoken

    assert 8 == len(pages)
    assert {} == found


def test_no_head_and_no_meaning_in_a_csv_file_speaks_of_patients(line):
    tables = sorted(line[1].rglob("*.csv"))
    heads, meanings = {}, []
    for table in tables:
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
        heads[f"{table.parent.name}/{table.name}"] = [name for name in rows[0] if "patients" in name] if rows else []
        if table.name in ("data_dictionary.csv", "guidelines.csv"):
            meanings += [value for row in rows for key, value in row.items() if key != "how" and SPOKEN.search(value)]

    assert {} == {name: found for name, found in heads.items() if found}
    assert [] == meanings


def test_guidelines_and_model_cards_as_text_speak_of_no_patients(line):
    texts = [re.sub(r"(?m)^    .*$", "", path.read_text(encoding="utf-8")) for path in line[1].rglob("*.md")]

    assert texts
    assert [] == [found for text in texts for found in around(text)]


def test_what_counts_as_a_patient_is_called_a_photograph(line):
    said, reports = line
    [page] = [path for path in reports.rglob("index.html") if "-shared" in path.parent.name][:1]

    assert "cases / " in page.read_text()
    assert "150 cases/150 photographs" in said["split"] or "photographs" in said["split"]
    assert "No patient identifiers: leakage by patient cannot be excluded" in page.read_text()
