"""What `release` gives to strangers: all that may be known, nothing that leads to a person, and they can check it."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import date, timedelta
from functools import partial

import duckdb
import hostile_cohort as cohort
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from search_identifiers import planted, search

from toolkit.cli import main
from toolkit.console.runs import rendered
from toolkit.errors import LeakError, StudyError, ToolkitError, WorkspaceError
from toolkit.files import digests_of
from toolkit.manifest import NO_PATIENTS
from toolkit.manifest.release import ReleaseSection
from toolkit.photographs.opening import probe
from toolkit.stages.parse import parse
from toolkit.stages.release import MANIFEST, release
from toolkit.stages.release.fields import CODE, IDENTIFIER, LONG, NO_VALUE, RARE, SEVERAL, FieldReader
from toolkit.stages.release.groups import to_empty
from toolkit.stages.release.keys import release_key
from toolkit.stages.split import split
from toolkit.stages.withdraw import withdraw
from toolkit.stats.agreement import coincidences, krippendorff
from toolkit.workspace import ledger, releases
from toolkit.workspace.registry import Workspace
from toolkit.workspace.verification import verify

FIELDS = {
    "age": "age",
    "sex": "category",
    "site": "category",
    "camera": ["mri-9000", cohort.patient(5)],
    "thickness": "number",
    "visit": "date",
    "birth": "date",
}


def with_release(study, **section):
    given = {"licence": "CC-BY-4.0", "fields": FIELDS, "quasi_identifiers": ["sex"], **section}
    return study.model_copy(update={"release": ReleaseSection(**given)})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, study, key):
    """A parsed and split cohort whose names, photographs and metadata tell who the patients are, and its study."""
    folder = tmp_path_factory.mktemp("hostile")
    own = study.model_copy(
        update={
            "labelbox": study.labelbox.model_copy(update={"metadata": None}),
            "split": study.split.model_copy(update={"binds": ["patient"]}),
        }
    )
    workspace = Workspace(folder / "workspace")
    parse(workspace, own, key, [cohort.write_cohort(folder)], images=folder)
    split(workspace, own)
    (folder / "release.key").write_text(f"{'a5' * 32}\n")
    return workspace, with_release(own, key_file="release.key"), folder


@pytest.fixture(scope="module")
def released(hostile, key):
    """The release of the hostile cohort: its folder and the result."""
    workspace, study, folder = hostile
    result = apply(workspace, study, key, folder / "out", study_folder=folder)
    return folder / "out", result


@pytest.fixture
def copy_of(hostile, released, tmp_path):  # noqa: ARG001 - the release is to be there
    """A copy of the workspace after the release, for tests that change it."""
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(hostile[0].folder, copy.folder)
    return copy


def apply(workspace, study, key, folder, **given):
    return release(workspace, study, key, folder, checked_by="Dr A. Example", apply=True, **given)


def labels_of(folder):
    return pd.read_parquet(folder / "labels.parquet")


def own_cases(workspace):
    """Return the registry's cases with diagnosis, subset and photograph."""
    return workspace.rows(
        "select cases.*, truth.class_name, truth.resolved_by, splits.part from cases "
        "inner join truth using (case_id) left join splits using (case_id) order by case_id"
    )


def secrets_of(workspace):
    """Return everything of the registry and the cohort that must not stand in a release."""
    found = {cohort.SECRET, *cohort.READERS, "Signature=", "SIGNED0123456789", "pacs.example.org", "HYPERLINK"}
    for number in range(cohort.PATIENTS):
        found |= {cohort.patient(number), cohort.birth(number), f"77{number:04}"}
        found |= {cohort.seen(number, visit) for visit in range(2)}
    columns = {
        "images": (
            "image_id",
            "global_key",
            "external_id",
            "patient_id",
            "lesion_id",
            "path",
            "sha256",
            "pixel_sha256",
        ),
        "cases": ("case_id",),
        "labels": ("label_id", "annotator", "content_sha256"),
        "readings": ("object_id",),
        "exports": ("export_id", "sha256"),
        "splits": ("split_id",),
        "label_states": ("truth_id", "label_revision", "content_hash"),
    }
    for table, names in columns.items():
        for row in workspace.rows(f"select distinct {', '.join(names)} from {table}"):
            found |= {value for value in row.values() if value}
    times = workspace.rows("select distinct created_at::date::text as day from labels")
    return found | {row["day"] for row in times}


def test_nothing_in_a_release_leads_to_a_person_or_to_the_registry(hostile, released):
    (folder, result), secrets = released, secrets_of(hostile[0])

    assert len(secrets) > 300
    assert [] == search([folder], secrets, {"result": repr(result.fields)})
    assert not [path for path in folder.rglob("*") if any(secret in str(path.name) for secret in secrets)]


def test_the_search_finds_what_is_planted(hostile, released, tmp_path):
    """The test above could not fail if the search found nothing."""
    shutil.copytree(released[0], tmp_path / "out")
    secret = hostile[0].rows("select case_id from cases limit 1")[0]["case_id"]
    rows = labels_of(tmp_path / "out").assign(more=secret)
    rows.to_parquet(tmp_path / "out" / "labels.parquet", compression="zstd")

    assert "labels.parquet" in {place.path.name for place in search([tmp_path / "out"], {secret})}


def test_photographs_hold_their_pixels_and_nothing_else(released):
    paths = sorted((released[0] / "images").iterdir())

    assert 2 * cohort.PATIENTS == len(paths) == released[1].photographs
    for path in paths:
        with Image.open(path) as picture:
            assert ("JPEG", "RGB", cohort.SIZE) == (picture.format, picture.mode, picture.size)
            assert {"jfif", "jfif_version", "jfif_unit", "jfif_density"} == set(picture.info)
            assert not picture.getexif()
        assert path.read_bytes().endswith(b"\xff\xd9")  # nothing stands behind the picture


def by_patient(rows):
    """Return how many patients have which cases: diagnosis, subset, how it came about."""
    cases = defaultdict(list)
    for patient, *said in rows:
        cases[patient].append(tuple("" if pd.isna(each) else each for each in said))
    return Counter(tuple(sorted(each)) for each in cases.values())


def test_no_case_and_no_label_is_lost_and_patients_stay_together(hostile, released):
    own, labels = own_cases(hostile[0]), labels_of(released[0])
    names = ["patient_id", "reference_diagnosis", "part", "resolved_by"]
    rows = [(row["patient_id"], row["class_name"], row["part"], row["resolved_by"]) for row in own]
    readings = pd.read_parquet(released[0] / "readings.parquet")
    said = hostile[0].rows("select class_name, counts from readings")
    theirs = Counter(zip(readings["class_name"], readings["counts"], strict=True))

    assert len(own) == len(labels) == labels["case_id"].nunique()
    assert by_patient(rows) == by_patient(labels[names].itertuples(index=False))
    assert Counter((row["class_name"], row["counts"]) for row in said) == theirs
    assert set(readings["case_id"]) == set(labels.loc[labels["readings"] > 0, "case_id"])
    assert len(cohort.READERS) == readings["annotator"].nunique()


def test_csv_and_parquet_hold_the_same_for_pandas_and_for_duckdb(released):
    folder = released[0]
    for name in ("labels", "readings"):
        with duckdb.connect() as connection:
            schema = connection.sql(f"describe from '{folder / name}.parquet'").fetchall()
            types = {column: kind for column, kind, *_ in schema}
            options = f"columns = {types}, header = true, auto_detect = false, delim = ',', quote = '\"'"
            read = f"read_csv('{folder / name}.csv', {options})"
            by_csv = connection.sql(f"from {read} order by all").fetchall()
            by_parquet = connection.sql(f"from '{folder / name}.parquet' order by all").fetchall()

        assert by_parquet == by_csv
        assert len(pd.read_csv(folder / f"{name}.csv")) == len(by_csv)


def test_no_cell_of_a_csv_is_a_formula(released):
    for name in ("labels.csv", "readings.csv", "split/cases.csv"):
        rows = csv.reader(io.StringIO((released[0] / name).read_text()))

        assert [] == [cell for row in rows for cell in row if cell[:1] in "=+-@'\t" and cell]


def thumbnail(path):
    """Return a small picture with 8 bits, in colours that need not be exact."""
    with Image.open(path) as picture:
        deep = picture.mode.startswith("I")
        plain = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8)) if deep else picture
        return np.asarray(plain.convert("RGB").resize((8, 8)), float)


def test_every_label_stands_beside_the_photograph_it_is_about(hostile, released):
    """A stranger's loader: each row's picture opens, and is the one that the registry has for the case."""
    labels = labels_of(released[0])
    own = {row["sha256"]: row["path"] for row in hostile[0].rows("select sha256, path from images")}
    small = {path: thumbnail(path) for path in own.values()}
    diagnoses = defaultdict(set)
    for row in hostile[0].rows(
        "select path, class_name from cases inner join images using (image_id) inner join truth using (case_id)"
    ):
        diagnoses[row["path"]].add(row["class_name"])
    for row in labels.itertuples():
        shown = thumbnail(released[0] / row.file_name)
        nearest = min(small, key=lambda path: np.abs(small[path] - shown).mean())
        expected = None if pd.isna(row.reference_diagnosis) else row.reference_diagnosis

        assert {expected} == diagnoses[nearest]


def test_only_typed_values_that_identify_nobody_are_released(released):
    fields = {each.name: each for each in released[1].fields}
    labels = labels_of(released[0])

    assert {"notes", "record"} == set(released[1].fields_left_out)
    assert {90, 30} == set(labels["age"])
    assert {"male", "female"} == set(labels["sex"])
    assert {"back"} == set(labels["site"].dropna())
    assert {NO_VALUE["category"]: 2, RARE: 2} == fields["site"].left_out
    assert ({IDENTIFIER: 2}, ["mri-9000"]) == (fields["camera"].left_out, fields["camera"].categories)
    assert {CODE: 2} == fields["thickness"].left_out  # 770004, of patient MRN-770004
    assert labels["visit"].notna().all()


def test_dates_are_shifted_by_patient_and_intervals_stay(released):
    labels = labels_of(released[0])
    shifts = set()
    for _, rows in labels.groupby("patient_id"):
        visits = sorted(rows["visit"])
        born = rows["birth"].iloc[0]
        number = next(n for n in range(cohort.PATIENTS) if interval_of(n) == (visits[0] - born if born else None))
        shifts.add((visits[0] - date.fromisoformat(cohort.seen(number, 0))).days)
        true = [date.fromisoformat(cohort.seen(number, visit)) for visit in range(2)]

        assert true[1] - true[0] == visits[1] - visits[0]
    assert cohort.PATIENTS == len(shifts)
    assert 36_525 <= min(shifts) <= max(shifts) < 36_525 + 36_524


def interval_of(number):
    """Return from birth to the first visit; None where that tells an age over 89 years at the last one."""
    born, first, last = map(date.fromisoformat, (cohort.birth(number), cohort.seen(number, 0), cohort.seen(number, 1)))
    return None if last - born > timedelta(days=89 * 365.25) else first - born


def test_a_date_that_tells_an_age_over_89_is_left_out(copy_of, hostile, key, tmp_path):
    with copy_of.writing() as connection:
        connection.execute("update metadata set value = '1925-01-01' where name = 'birth' and image_id like '%0005%'")
    result = release(copy_of, with_release(hostile[1]), key, tmp_path / "out")
    [birth] = [each for each in result.fields if each.name == "birth"]

    assert {LONG: 2} == birth.left_out


def test_several_values_of_one_photograph_are_left_out(copy_of, hostile, key, tmp_path):
    with copy_of.writing() as connection:
        connection.execute("insert into metadata values ('cmphoto0005x0', 'sex', 'CustomMetadataString', 'male')")
    result = release(copy_of, with_release(hostile[1]), key, tmp_path / "out")
    [sex] = [each for each in result.fields if each.name == "sex"]

    assert {SEVERAL: 1} == sex.left_out


def test_strangers_can_verify_a_release(released, monkeypatch):
    folder, result = released
    checked = verify(folder / "split", images=folder / "images")
    monkeypatch.chdir(folder / "split")
    with duckdb.connect() as connection:
        [answer] = connection.execute((folder / "split" / "verify.sql").read_text()).fetchall()

    assert (result.released_split, sum(result.parts.values())) == (checked.split_id, checked.cases)
    assert ("PASS", checked.cases) == (answer[0], answer[2])
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=False).returncode == 0


def test_a_photograph_that_was_exchanged_does_not_verify(released, tmp_path):
    shutil.copytree(released[0], tmp_path / "out")
    rows = labels_of(released[0])
    first, second = rows.loc[rows["part"].notna(), "file_name"][:2]
    shutil.copy(tmp_path / "out" / first, tmp_path / "out" / second)
    with pytest.raises(LeakError, match="no photograph has the digest"):
        verify(tmp_path / "out" / "split", images=tmp_path / "out" / "images")


def test_subsets_are_those_of_the_split_and_its_digests_are_of_the_released_files(hostile, released):
    rows = pd.read_csv(released[0] / "split" / "cases.csv")
    labels = labels_of(released[0]).set_index("case_id")
    own = Counter(row["part"] for row in own_cases(hostile[0]) if row["class_name"])
    digests = {row["pixel_sha256"] for row in hostile[0].rows("select pixel_sha256 from images")}

    assert own == Counter(rows["part"])
    assert list(labels.loc[rows["case_id"], "part"]) == list(rows["part"])
    assert list(labels.loc[rows["case_id"], "reference_diagnosis"]) == list(rows["class_name"])
    assert digests.isdisjoint(probe(path.read_bytes()).pixel_sha256 for path in (released[0] / "images").iterdir())


def test_the_same_registry_and_key_give_the_same_bytes_and_another_key_other_ids(hostile, released, key, tmp_path):
    workspace, study, folder = hostile
    again = apply(workspace, study, key, tmp_path / "again", study_folder=folder)
    apply(workspace, with_release(study), key, tmp_path / "random")
    names = ["case_id", "image_id", "patient_id", "lesion_id"]
    ids = [set(labels_of(each)[names].to_numpy().ravel()) for each in (released[0], tmp_path / "random")]

    assert digests_of(released[0]) == digests_of(tmp_path / "again")
    assert released[1].release_id == again.release_id
    assert sum(map(len, ids)) == len(set().union(*ids))


def test_the_key_is_made_for_nobody_else_to_read_and_stands_nowhere_in_the_release(hostile, released, tmp_path):
    own = release_key(hostile[0], hostile[1], study_folder=tmp_path, create=True)
    again = release_key(hostile[0], hostile[1], study_folder=tmp_path, create=False)
    file = hostile[2] / "release.key"

    assert 0o600 == (tmp_path / "release.key").stat().st_mode & 0o777
    assert (own.fingerprint, own.patient("p-1")) == (again.fingerprint, again.patient("p-1"))
    assert [] == search([released[0], hostile[0].folder], {file.read_text().strip()})


@pytest.mark.soak
def test_the_key_of_pseudonyms_may_be_named_as_key_of_the_release_without_giving_the_same_ids(hostile, key, tmp_path):
    (tmp_path / "own.key").write_text(("6b" * 32) + "\n")
    study = with_release(hostile[1], key_file="own.key")
    apply(hostile[0], study, key, tmp_path / "out", study_folder=tmp_path)
    own = {row["patient_id"] for row in hostile[0].rows("select patient_id from patients")}

    assert own.isdisjoint(labels_of(tmp_path / "out")["patient_id"])


def test_a_key_inside_the_workspace_is_refused(hostile, key, tmp_path):
    study = with_release(hostile[1], key_file="workspace/release.key")
    with pytest.raises(StudyError, match="stand inside the workspace"):
        apply(hostile[0], study, key, tmp_path / "out", study_folder=hostile[2])


def test_every_table_of_the_data_sheet_is_the_answer_of_its_sql(released, monkeypatch):
    text = (released[0] / "datasheet.md").read_text()
    found = re.findall(r"((?:^\|[^\n]*\n)+)\n```sql\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(released[0])
    for shown, query in found:
        with duckdb.connect() as connection:
            rows = [[("" if x is None else str(x).lower() if isinstance(x, bool) else str(x)) for x in row]
                    for row in connection.execute(query).fetchall()]  # fmt: skip
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines()[2:]]

        assert lines == rows
    assert 7 == len(found)


def test_counts_and_agreement_of_the_data_sheet_have_a_second_opinion(released):
    text = (released[0] / "datasheet.md").read_text()
    readings = pd.read_parquet(released[0] / "readings.parquet")
    votes = readings[readings["counts"]].pivot_table(
        index="case_id", columns="class_name", aggfunc="size", fill_value=0
    )
    several = votes[votes.sum(axis=1) > 1].to_numpy()
    pairs = several * (several - 1)
    share = pairs.sum() / (several.sum(axis=1) * (several.sum(axis=1) - 1)).sum()
    alpha = float(krippendorff(coincidences(several).sum(axis=0)))
    labels = labels_of(released[0])

    assert f"| {len(several)} | {several.sum()} | {share:.4g} | {round(alpha, 4)} |" in text
    assert (
        f"| {len(labels)} | {labels['reference_diagnosis'].notna().sum()} | {labels['image_id'].nunique()} | 0 |"
        in text
    )
    assert f"| 2 | {cohort.PATIENTS // 2} | 0 | 0 |" in text


def test_the_readme_loads_the_release(released, monkeypatch):
    text = (released[0] / "README.md").read_text()
    [python] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    [query] = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(released[0])
    names = {}
    exec(python, names)
    with duckdb.connect() as connection:
        counted = connection.execute(query).fetchall()

    assert released[1].cases == len(names["labels"]) == sum(cases for *_, cases in counted)
    assert released[1].readings == len(names["readings"])
    assert released[1].parts["train"] == len(names["train"])
    assert set(names["labels"].columns) | set(names["readings"].columns) == set(
        re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    )


@pytest.mark.soak
def test_a_cohort_for_external_validation_is_released_too(copy_of, hostile, key, tmp_path):
    study = with_release(hostile[1])
    external = study.model_copy(update={"split": study.split.model_copy(update={"external": True})})
    split(copy_of, external)
    result = apply(copy_of, external, key, tmp_path / "out")

    assert {"external": result.cases - 6} == result.parts
    assert verify(tmp_path / "out" / "split").parts == 1


@pytest.mark.soak
def test_a_study_without_patient_identifiers_says_so_in_the_release(tmp_path, hostile, key):
    workspace, study = Workspace(tmp_path / "workspace"), hostile[1]
    study = study.model_copy(update={"labelbox": study.labelbox.model_copy(update={"patient_from": "none"})})
    parse(workspace, study, key, [hostile[2] / "export.ndjson"], images=hostile[2])
    split(workspace, study)
    apply(workspace, with_release(study, quasi_identifiers=[]), key, tmp_path / "out")
    checked = verify(tmp_path / "out" / "split", images=tmp_path / "out" / "images")

    assert not checked.patients_known
    assert NO_PATIENTS in (tmp_path / "out" / "README.md").read_text()
    assert NO_PATIENTS in (tmp_path / "out" / "datasheet.md").read_text()


def test_a_field_with_a_name_that_a_spreadsheet_would_compute_is_renamed(copy_of, hostile, key, tmp_path):
    with copy_of.writing() as connection:
        connection.execute("update metadata set name = '=1+1|part`' where name = 'sex'")
    study = with_release(hostile[1], fields={"=1+1|part`": "category"}, quasi_identifiers=["=1+1|part`"])
    apply(copy_of, study, key, tmp_path / "out")

    assert "field 1+1_part_" == labels_of(tmp_path / "out").columns[-1]
    assert {"male", "female"} == set(labels_of(tmp_path / "out")["field 1+1_part_"])


def test_the_manifest_has_the_digest_of_every_file_and_no_time(released):
    manifest = json.loads((released[0] / MANIFEST).read_text())
    there = digests_of(released[0])

    assert {name: digest for name, digest in there.items() if name not in (MANIFEST, "SHA256SUMS")} == manifest["files"]
    assert "CC-BY-4.0" == manifest["licence"]
    assert not re.search(r"20\d\d-\d\d-\d\d", (released[0] / MANIFEST).read_text())


def test_without_a_licence_nothing_is_released(hostile, key, tmp_path):
    study = hostile[1].model_copy(update={"release": None})
    with pytest.raises(StudyError, match="licence"):
        apply(hostile[0], study, key, tmp_path / "out")

    assert [] == list(tmp_path.iterdir())


def test_the_text_of_the_licence_is_copied(hostile, key, tmp_path):
    (tmp_path / "terms.txt").write_text("You may look at it.\n")
    study = with_release(hostile[1], licence="own terms", licence_file="terms.txt")
    apply(hostile[0], study, key, tmp_path / "out", study_folder=tmp_path)
    with pytest.raises(StudyError, match="licence's text cannot be read"):
        apply(hostile[0], study, key, tmp_path / "other", study_folder=tmp_path / "nowhere")

    assert "You may look at it." in (tmp_path / "out" / "LICENSE.txt").read_text()


def test_without_apply_nothing_is_written_and_all_of_it_is_told(hostile, released, key, tmp_path):
    before = digests_of(hostile[0].folder)
    study = with_release(hostile[1], key_file="new.key")
    said = release(hostile[0], study, key, tmp_path / "out", study_folder=tmp_path)

    assert (before, []) == (digests_of(hostile[0].folder), list(tmp_path.iterdir()))
    assert (False, None, released[1].cases, released[1].photographs) == (
        said.applied,
        said.release_id,
        said.cases,
        said.photographs,
    )
    assert released[1].fields == said.fields
    assert ["nobody has confirmed"] == [problem[:20] for problem in said.problems]


def test_photographs_that_nobody_has_looked_at_are_not_released(hostile, key, tmp_path):
    with pytest.raises(WorkspaceError, match="nobody has confirmed"):
        release(hostile[0], with_release(hostile[1]), key, tmp_path / "out", checked_by=" ", apply=True)


def test_a_field_that_no_photograph_has_is_told(hostile, key, tmp_path):
    study = with_release(hostile[1], fields={"sexx": "category"}, quasi_identifiers=[])
    with pytest.raises(WorkspaceError, match="no photograph has the metadata field sexx"):
        apply(hostile[0], study, key, tmp_path / "out")


def test_small_groups_keep_a_data_set_from_being_released(hostile, key, tmp_path):
    study = with_release(hostile[1], quasi_identifiers=["age", "sex"], smallest_group=5)
    said = release(hostile[0], study, key, tmp_path / "out")
    with pytest.raises(WorkspaceError, match="1 of 12 patients are in groups of fewer than 5"):
        apply(hostile[0], study, key, tmp_path / "out")

    # One man of 93 years is alone; 5 men and 6 women are in the band from 30.
    assert (1, 1, 3) == (said.anonymity.smallest_group, said.anonymity.unique_patients, said.anonymity.groups)


def test_quasi_identifiers_of_small_groups_can_be_emptied(hostile, key, tmp_path):
    study = with_release(hostile[1], quasi_identifiers=["age", "sex"], small_groups="empty", smallest_group=5)
    result = apply(hostile[0], study, key, tmp_path / "out")
    alike = labels_of(tmp_path / "out").drop_duplicates("patient_id").groupby(["age", "sex"], dropna=False).size()

    assert (6, 6) == (result.anonymity.emptied_patients, result.anonymity.smallest_group)
    assert [6, 6] == sorted(alike)


@pytest.mark.parametrize(
    ("sizes", "least", "emptied"),
    [
        ({"a": 5, "b": 6}, 5, 0),
        ({"a": 2, "b": 3, "c": 9}, 5, 5),
        ({"a": 1, "b": 6, "c": 9}, 5, 7),
        ({"": 3, "b": 6, "c": 9}, 5, 6),
        ({"a": 2}, 5, 2),
    ],
)
def test_as_many_patients_are_emptied_as_make_every_group_large_enough(sizes, least, emptied):
    patients = {f"{name}{n}": ((name,),) for name, size in sizes.items() for n in range(size)}

    assert emptied == len(to_empty(patients, least, (("",),)))


@pytest.mark.parametrize(
    ("years", "ages"), [(1, [0, 44, 89, 90, 90]), (5, [0, 40, 85, 90, 90]), (10, [0, 40, 80, 90, 90])]
)
def test_ages_are_capped_and_come_in_bands(years, ages):
    section = ReleaseSection(licence="CC0-1.0", fields={"age": "age"}, age_years=years)
    texts = dict(enumerate([["0"], ["44.6"], ["89"], ["89.5"], ["130"], ["131"], ["-1"], ["nan"], ["old"]]))
    reader = FieldReader("age", section, patients=dict.fromkeys(texts, "p"))

    assert ages == list(reader.read(texts, lambda *_: False).values())
    assert {NO_VALUE["age"]: 4} == reader.left_out


def test_a_number_that_is_the_own_patients_is_left_out(copy_of, hostile, key, tmp_path):
    with copy_of.writing() as connection:
        connection.execute(
            "update images set patient_id = $1 where image_id = 'cmphoto0004x0'", [key.pseudonym("p", "770004")]
        )
        connection.execute(
            "update cases set patient_id = $1 where image_id = 'cmphoto0004x0'", [key.pseudonym("p", "770004")]
        )
        connection.execute("insert into patients values ($1, 1, 1)", [key.pseudonym("p", "770004")])
    said = release(copy_of, with_release(hostile[1]), key, tmp_path / "out")
    [thickness] = [each for each in said.fields if each.name == "thickness"]

    assert {IDENTIFIER: 2} == thickness.left_out  # six digits that are some patient's are nobody's thickness


def test_a_case_without_a_photograph_keeps_its_labels(copy_of, hostile, key, tmp_path):
    with copy_of.writing() as connection:
        connection.execute("update images set path = null where image_id = 'cmphoto0005x0'")
    result = apply(copy_of, with_release(hostile[1]), key, tmp_path / "out")
    labels = labels_of(tmp_path / "out")
    [bare] = labels[labels["file_name"].isna()].to_dict("records")

    assert (2 * cohort.PATIENTS, 2 * cohort.PATIENTS - 1) == (len(labels), result.photographs)
    assert "melasma" == bare["reference_diagnosis"]
    assert (
        f"1 photograph left out: {next(iter(result.photographs_left_out))}"
        in (tmp_path / "out/datasheet.md").read_text()
    )
    assert verify(tmp_path / "out" / "split", images=tmp_path / "out" / "images").cases == sum(result.parts.values())


def test_the_workspace_knows_what_was_released(hostile, released):
    workspace, (folder, result) = hostile[0], released
    [row] = workspace.rows("from releases where release_id = $id", {"id": result.release_id})
    [entry] = [each for each in ledger.entries(workspace, "release") if each["release_id"] == result.release_id]
    file = workspace.folder / "releases" / f"{result.release_id}.json"
    own = {each["patient_id"] for each in workspace.rows("select patient_id from patients")}

    assert (result.cases, result.patients, 0) == (row["cases"], row["patients"], row["withdrawn"])
    assert row["manifest_sha256"] == entry["manifest_sha256"] == digests_of(folder)[MANIFEST]
    assert [] == search([file.parent], {"Dr A. Example", *own, *labels_of(folder)["patient_id"]})
    assert 0o600 == file.stat().st_mode & 0o777


def test_a_withdrawn_patient_is_told_by_release_and_then_forgotten(copy_of, released, key):
    release_id, person = released[1].release_id, (key.pseudonym("p", cohort.patient(2).lower()),)
    before = releases.holding(copy_of, person)
    others = releases.holding(copy_of, ("p-0123456789abcdef",))
    releases.leave_out(copy_of, person)
    after = releases.holding(copy_of, person)
    withdrawn = {row["release_id"]: row["withdrawn"] for row in releases.read(copy_of).to_pylist()}
    (copy_of.folder / "releases" / f"{release_id}.json").unlink()
    lost = releases.holding(copy_of, person)

    assert (release_id, True) in [(each["release_id"], each["is_known"]) for each in before]
    assert ([], []) == (others, after)
    assert 1 == withdrawn[release_id]
    assert [(release_id, False)] == [(each["release_id"], each["is_known"]) for each in lost]


def test_withdraw_names_the_releases_and_rebuild_reads_them(copy_of, hostile, released, key):
    result, study = released[1], hostile[1]
    again = partial(parse, copy_of, study, key, [], anew=True)
    said = withdraw(copy_of, study, key, cohort.patient(2), reparse=again, apply=True)
    [row] = copy_of.rows("from releases where release_id = $id", {"id": result.release_id})
    shown = io.StringIO()
    Console(file=shown, width=200).print(rendered(said))

    assert result.release_id in {each["release_id"] for each in said.releases}
    assert f"release {result.release_id} of {row['made_at']:%Y-%m-%d} holds the patient: tell those" in shown.getvalue()
    assert (1, cohort.PATIENTS) == (row["withdrawn"], row["patients"])


def test_the_command_releases_what_it_has_announced(finished, copied, tmp_path, capsys):
    text = finished.study_file.path.read_text()
    section = '[release]\nlicence = "CC0-1.0"\nfields = {age = "age", sex = "category", captured_at = "date"}\n'
    (tmp_path / "study.toml").write_text(f"{text}\n{section}")
    command = [
        "--study",
        str(tmp_path / "study.toml"),
        "--workspace",
        str(copied.folder),
        "release",
        str(tmp_path / "out"),
    ]
    with pytest.raises(SystemExit) as planned:
        main(command)
    announced = capsys.readouterr().out
    with pytest.raises(SystemExit) as unchecked:
        main([*command, "--apply"])
    refused = capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        main([*command, "--apply", "--photographs-checked-by", "Dr A. Example"])
    written = capsys.readouterr().out

    assert (0, 1, 0) == (planned.value.code, unchecked.value.code, done.value.code)
    assert "would be released under CC0-1.0" in announced
    assert "--photographs-checked-by" in refused
    assert "Traceback" not in refused
    assert "this copy stays when a patient is withdrawn" in written
    assert [] == search([tmp_path / "out"], planted(finished.export.parent), {"said": announced + refused + written})
    assert verify(tmp_path / "out" / "split", images=tmp_path / "out" / "images").patients_known


def test_a_changed_file_of_a_release_is_noticed(copy_of, released):
    file = copy_of.folder / "releases" / f"{released[1].release_id}.json"
    file.write_text(file.read_text().replace('"patients": 12', '"patients": 11'))
    with pytest.raises(WorkspaceError, match="changed or damaged"):
        releases.holding(copy_of, ())


def test_a_release_stands_where_nothing_stood_and_outside_the_workspace(hostile, key, tmp_path):
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "mine", hostile[0].folder / "out"):
        with pytest.raises(ToolkitError, match=r"something stands here|inside the workspace"):
            release(hostile[0], with_release(hostile[1]), key, place)


@pytest.mark.soak
def test_a_full_disk_leaves_nothing_of_a_release(hostile, tmp_path):
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from toolkit.errors import ToolkitError\n"
        "from toolkit.manifest import Study\n"
        "from toolkit.privacy import PseudonymKey\n"
        "from toolkit.stages.release import release\n"
        "from toolkit.workspace.registry import Workspace\n"
        "study = Study.model_validate_json(sys.stdin.read(), strict=False)\n"
        "key = PseudonymKey(b'a key for tests', published=True)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try:\n"
        "    release(Workspace(Path(sys.argv[1])), study, key, Path(sys.argv[2]), checked_by='x', apply=True)\n"
        "except ToolkitError as error:\n"
        "    print(error)\n"
    )
    study = with_release(hostile[1]).model_dump_json()
    command = [sys.executable, "-c", program, hostile[0].folder, tmp_path / "out", "."]
    done = subprocess.run(command, capture_output=True, text=True, input=study, check=False)

    assert "free some disk space" in done.stdout, done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"fields": {"age": "number"}}, 'give it the type "age"'),
        ({"fields": {"Patient Age (years)": "number"}}, 'give it the type "age"'),
        ({"quasi_identifiers": ["hair"]}, "hair is none of release.fields"),
        ({"quasi_identifiers": ["visit"]}, "visit is a date"),
    ],
)
def test_a_release_section_that_would_give_too_much_away_is_refused(section, fault):
    with pytest.raises(ValueError, match=re.escape(fault)):
        ReleaseSection(**{"licence": "CC0-1.0", "fields": FIELDS, **section})
