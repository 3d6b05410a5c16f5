import dataclasses
import html
import math
import re
import shutil
from pathlib import Path

import exports
import numpy as np
import pytest
from exports import label, row
from PIL import Image, ImageOps

from toolkit.cases import case_id_of
from toolkit.csv_files import read_csv
from toolkit.stages.audit import MEANING, audit, images_digest
from toolkit.stages.parse import parse
from toolkit.stages.report.audit_page import _standardised, audit_page
from toolkit.stages.split import split
from toolkit.workspace.registry import Workspace


def photograph(path, seed):
    """Save a photograph of its own: blotches with some grain, as skin has them."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(40, 215, (8, 16), dtype=np.uint8)).resize((200, 100), Image.Resampling.BICUBIC)
    grain = np.clip(np.asarray(soft) + rng.normal(0, 8, (100, 200)), 0, 255).astype(np.uint8)
    Image.fromarray(grain).convert("RGB").save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six photographs: a and b the same bytes, c the same pixels, the rest their own; and three made of d, e and f."""
    folder = tmp_path_factory.mktemp("photographs")
    for name, seed in {"a": 1, "b": 1, "d": 2, "e": 3, "f": 4}.items():
        photograph(folder / f"{name}.png", seed)
    photograph(folder / "c.bmp", 1)
    d, e, f = (Image.open(folder / f"{name}.png") for name in "def")
    ImageOps.mirror(d).save(folder / "g.jpg", quality=80)
    e.crop((10, 5, 190, 95)).save(folder / "h.png")
    f.rotate(90, expand=True).resize((50, 100)).save(folder / "i.png")
    return folder


@pytest.fixture(scope="module")
def twice_once(tmp_path_factory, folder, study, key):
    """The six photographs, a and b of one patient, c of another."""
    rows = [
        row("a", label("La", "nevus"), external_id="a.png"),
        row("b", label("Lb", "nevus"), external_id="b.png"),
        row("c", label("Lc", "nevus"), patient="P-2", external_id="c.bmp"),
        row("d", label("Ld", "nevus"), label("Ld2", "melasma", by="r2"), patient="P-3", external_id="d.png"),
        row("e", label("Le", "melasma"), patient="P-4", external_id="e.png"),
        row("f", label("Lf", "melasma"), patient="P-5", external_id="f.png"),
    ]
    return parsed_into(Workspace(tmp_path_factory.mktemp("twice") / "workspace"), study, key, rows, folder)


@pytest.fixture(scope="module")
def changed_once(tmp_path_factory, twice_once, folder, study, key):
    """The six photographs, and those that were made of d, e and f: for other patients and for the same."""
    rows = [
        row("g", label("Lg", "nevus"), patient="P-6", external_id="g.jpg"),
        row("h", label("Lh", "nevus"), patient="P-4", size=(180, 90), external_id="h.png"),
        row("i", label("Li", "melasma"), patient=None, size=(50, 100), external_id="i.png"),
    ]
    return parsed_into(copy_of(twice_once, tmp_path_factory.mktemp("changed")), study, key, rows, folder)


@pytest.fixture(scope="module")
def audited_once(tmp_path_factory, changed_once):
    """A copy of it after an audit, and the audit's result; for tests that only read."""
    workspace = copy_of(changed_once, tmp_path_factory.mktemp("audited"))
    return workspace, audit(workspace)


def parsed_into(workspace, study, key, rows, images):
    export = exports.write(workspace.folder.parent / "export.ndjson", rows)
    parse(workspace, study, key, [export], images=images)
    return workspace


def copy_of(workspace, folder):
    return Workspace(Path(shutil.copytree(workspace.folder, folder / "workspace")))


@pytest.fixture
def twice(twice_once, tmp_path):
    return copy_of(twice_once, tmp_path)


@pytest.fixture
def audited(audited_once, tmp_path):
    return copy_of(audited_once[0], tmp_path)


def found(workspace):
    rows = workspace.rows("select kind, case_id, other_case_id, detail from findings order by all")
    return [(r["kind"], {r["case_id"], r["other_case_id"]}, r["detail"]) for r in rows]


def test_duplicates_and_disagreements_are_found(twice):
    result = audit(twice)
    ids = {name: case_id_of(name, "") for name in "abcd"}
    pairs = {kind: members for kind, members, _ in found(twice)}

    assert {"disagreement": 1, "duplicate_within_patient": 1, "identical_pixels": 1} == result.findings
    assert {ids["a"], ids["b"]} == pairs["duplicate_within_patient"]
    assert {ids["a"], ids["c"]} == pairs["identical_pixels"]
    assert {ids["d"], None} == pairs["disagreement"]
    assert 1 == result.across_patients


def test_a_photograph_under_two_patients_is_counted_and_kept_in_one_part(twice, study):
    audit(twice)
    made = split(twice, study)
    parts = twice.rows(
        "select distinct part from splits inner join cases using (case_id) where image_id in ('a', 'b', 'c')"
    )

    assert 1 == made.linked_patients
    assert 1 == len(parts)


@pytest.mark.soak
def test_an_audit_replaces_the_one_before(twice):
    first, second = audit(twice), audit(twice)

    assert first == dataclasses.replace(second, already_searched=False)
    assert (False, True) == (first.already_searched, second.already_searched)


def test_turned_and_cut_copies_are_found_and_told_apart_by_patient(audited_once):
    changed, result = audited_once
    duplicates = changed.rows("select * from duplicates where relation = 'near_duplicate' order by image_id")
    details = {frozenset(members): (kind, detail) for kind, members, detail in found(changed)}
    ids = {name: case_id_of(name, "") for name in "abcdefgh"}

    assert [("d", "g"), ("e", "h"), ("f", "i")] == [(r["image_id"], r["other_image_id"]) for r in duplicates]
    words = ["mirrored", "the second is an 81 % crop of the first", "rotated by 270°"]
    assert words == [r["change"] for r in duplicates]
    assert all(0.75 <= r["score"] <= 1 for r in duplicates)
    assert (7, 0, 2) == (result.photographs, result.missing, result.across_patients)
    assert details[frozenset({ids["d"], ids["g"]})] == (
        "near_duplicate",
        "near-duplicate photographs of two patients: mirrored",
    )


def test_copies_of_one_photograph_with_two_classes_contradict_each_other(audited_once):
    changed, _ = audited_once
    details = [detail for kind, _, detail in found(changed) if kind == "contradiction"]

    assert ["duplicate photographs have the classes melasma and nevus"] == details


@pytest.mark.soak
def test_two_classes_on_one_lesion_contradict_each_other(parsed):
    of = [{"schema_id": "m2", "schema_name": "lesion_id", "schema_kind": "CustomMetadataString", "value": "1"}]
    rows = [row("i1", label("L1", "nevus")), row("i2", label("L2", "melasma")), row("i3", label("L3", "nevus"))]
    rows.append(row("i4", label("L4", "melasma"), patient="P-2"))
    for each in rows:
        each["metadata_fields"] += of
    workspace = parsed(*rows)
    result = audit(workspace)

    assert {"contradiction"} == set(result.findings)
    assert {"photographs of one lesion have the classes nevus and melasma"} == {
        detail.replace("melasma and nevus", "nevus and melasma") for _, _, detail in found(workspace)
    }


def test_a_photograph_that_is_gone_is_counted_and_looked_for_again(audited, folder, tmp_path):
    (folder / "g.jpg").rename(tmp_path / "g.jpg")
    try:
        without = audit(audited)
    finally:
        (tmp_path / "g.jpg").rename(folder / "g.jpg")
    again = audit(audited)

    assert (6, 1, 1) == (without.photographs, without.missing, without.across_patients)
    assert (7, 0, 2, False) == (again.photographs, again.missing, again.across_patients, again.already_searched)


def test_without_photographs_nothing_is_searched(parsed):
    workspace = parsed(row("i1", label("L1", "nevus")))
    result = audit(workspace)

    assert (0, 0) == (result.photographs, len(workspace.rows("select * from duplicate_searches")))


def test_the_search_is_noted_with_what_determined_it(audited_once):
    changed, _ = audited_once
    noted = changed.rows("select * from duplicate_searches")
    pixels = changed.rows("select distinct pixel_sha256 from images where pixel_sha256 is not null order by 1")

    assert [images_digest(row["pixel_sha256"] for row in pixels)] == [row["images_sha256"] for row in noted]
    assert [(7, 5)] == [(row["photographs"], row["pairs"]) for row in noted]


def test_every_kind_of_finding_has_its_meaning(finished):
    kinds = {r["kind"] for r in finished.workspace.rows("select distinct kind from findings")}

    assert {"duplicate_within_patient", "near_duplicate", "disagreement"} <= kinds <= set(MEANING)


def test_findings_name_no_patient(parsed):
    workspace = parsed(row("i1", label("L1", "nevus"), label("L2", "melasma", by="jane@example.org"), patient="JANE"))
    audit(workspace)

    assert ["disagreement"] == [kind for kind, _, _ in found(workspace)]
    assert not any("jane" in detail.lower() for _, _, detail in found(workspace))


def test_the_page_shows_copies_side_by_side_those_of_two_patients_first(audited, study):
    split(audited, study)
    written = audit_page(audited, study)
    text = Path(written.page).read_text(encoding="utf-8")
    shown = re.findall(r'<li class="case" data-patients="(\w+)">', text)

    assert (5, 5) == (written.duplicates_shown, written.duplicates)
    assert ["across", "across", "unknown", "within", "within"] == shown
    # of five pairs, and of three contradictions: two pairs and a case whose readings differ
    assert 13 == text.count('<img src="data:image/webp;base64,')
    assert "Mirrored" in text
    assert "Duplicate photographs have the classes melasma and nevus." in text


def test_the_page_lets_nothing_run_and_names_no_photograph(audited, study):
    with audited.writing() as connection:
        connection.execute("update duplicates set change = '<script>alert(1)</script>'")
        connection.execute("update findings set detail = 'see /home/jo/PAT_7.jpg <b>'")
    text = Path(audit_page(audited, study).page).read_text(encoding="utf-8")

    assert "default-src 'none'; script-src 'sha256-" in html.unescape(text)
    assert 1 == text.count("<script>")
    assert [] == re.findall(r" (?:style|on\w+)=", text)
    assert [] == [name for name in ("PAT_7", "P-1", ".png", str(audited.folder), "key-a", "<b>") if name in text]


def test_every_table_of_the_page_is_a_csv_file(audited, study):
    split(audited, study)
    written = audit_page(audited, study)
    files = [Path(name) for name in written.files if name.endswith(".csv")]
    tables = {file.name: read_csv(file) for file in files}
    cases = {(row["level"], row["part"]): int(row["cases"]) for row in tables["cohort.csv"]}

    assert {
        "duplicates.csv",
        "same_lesion.csv",
        "suspects.csv",
        "contradictions.csv",
        "kept_out.csv",
        "cohort.csv",
        "data_dictionary.csv",
    } == set(tables)
    assert 5 == len(tables["duplicates.csv"])
    assert cases["", "all"] == cases["nevus", "all"] + cases["melasma", "all"]


def test_without_a_split_the_page_says_how_to_make_one(audited, study):
    assert "There is no split yet" in Path(audit_page(audited, study).page).read_text(encoding="utf-8")


def test_the_standardised_difference_of_two_shares():
    # Austin 2009: (0.5 - 0.4) / sqrt((0.24 + 0.25) / 2)
    assert 0.1 / math.sqrt(0.245) == pytest.approx(_standardised(0.4, 0.5))
    assert math.isnan(_standardised(1.0, 1.0))
