import csv
import json
import shutil

import duckdb
import numpy as np
import pytest
from exports import label, row
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import LeakError, WorkspaceError
from toolkit.split import PARTS, Table, _grouped, assign, split, verify

FRACTIONS = [0.6, 0.2, 0.2]
CLASSES = ["nevus", "melasma", "ephelis"]


@st.composite
def cohorts(draw):
    """Rows as the registry gives them: cases of patients, a few photographs shared between patients."""
    patients = draw(st.integers(1, 40))
    rows = []
    for patient in range(patients):
        for _ in range(draw(st.integers(1, 4))):
            pixels = draw(st.one_of(st.none(), st.integers(0, 200)))
            rows.append(
                {
                    "case_id": f"{len(rows):05}",
                    "patient_id": f"p-{patient}",
                    "class_name": draw(st.sampled_from(CLASSES)),
                    "pixel_sha256": None if pixels is None else f"x{pixels}",
                }
            )
    return rows


def table_of(rows) -> Table:
    return _grouped(sorted(rows, key=lambda r: r["case_id"]))


@settings(max_examples=60, deadline=None)
@given(cohorts())
def test_no_patient_and_no_photograph_stands_in_two_parts(rows):
    table = table_of(rows)
    parts = assign(table, FRACTIONS, seed=1)
    for column in (table.patient_id, table.group_id, table.pixels):
        seen = {}
        for value, part in zip(column, parts, strict=True):
            if value is not None:
                assert part == seen.setdefault(value, part)
    assert len(rows) == len(parts)
    assert set(parts) <= set(PARTS)


@settings(max_examples=30, deadline=None)
@given(cohorts(), st.randoms(use_true_random=False))
def test_shuffled_cases_give_the_same_split(rows, random):
    table = table_of(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)

    again = table_of(shuffled)
    assert table == again
    assert assign(table, FRACTIONS, seed=5) == assign(again, FRACTIONS, seed=5)


@settings(max_examples=30, deadline=None)
@given(cohorts())
def test_other_pseudonyms_give_the_same_split(rows):
    renamed = [{**r, "patient_id": f"q-{hash(r['patient_id']) % 10**9}"} for r in rows]

    assert assign(table_of(rows), FRACTIONS, seed=2) == assign(table_of(renamed), FRACTIONS, seed=2)


def test_single_case_patients_reach_the_integer_bound():
    counts = {"nevus": 101, "melasma": 57, "ephelis": 33}
    rows = [
        {"case_id": f"{name}{n:03}", "patient_id": f"{name}{n}", "class_name": name, "pixel_sha256": None}
        for name, count in counts.items()
        for n in range(count)
    ]
    table = table_of(rows)
    parts = assign(table, FRACTIONS, seed=3)
    for name, count in counts.items():
        got = [sum(p == part and c == name for p, c in zip(parts, table.class_name, strict=True)) for part in PARTS]

        assert 1.0 > max(abs(g - f * count) for g, f in zip(got, FRACTIONS, strict=True))


def test_another_seed_draws_other_patients_in_the_same_numbers():
    rows = [
        {"case_id": f"{n:03}", "patient_id": f"p{n}", "class_name": CLASSES[n % 3], "pixel_sha256": None}
        for n in range(90)
    ]
    first, second = (assign(table_of(rows), FRACTIONS, seed=seed) for seed in (1, 2))

    assert first != second
    assert sorted(first) == sorted(second)


def test_patients_who_share_a_photograph_are_one_group():
    rows = [
        {"case_id": "a", "patient_id": "p1", "class_name": "nevus", "pixel_sha256": "x"},
        {"case_id": "b", "patient_id": "p2", "class_name": "nevus", "pixel_sha256": "x"},
        {"case_id": "c", "patient_id": "p2", "class_name": "nevus", "pixel_sha256": "y"},
        {"case_id": "d", "patient_id": "p3", "class_name": "nevus", "pixel_sha256": None},
    ]

    assert ["a", "a", "a", "d"] == table_of(rows).group_id


def test_ham10000_by_lesion_stays_within_a_case_of_the_wish(shared):
    with (shared / "ham10000" / "HAM10000_metadata.csv").open(newline="") as file:
        rows = [
            {"case_id": r["image_id"], "patient_id": r["lesion_id"], "class_name": r["dx"], "pixel_sha256": None}
            for r in csv.DictReader(file)
        ]
    table = table_of(rows)
    parts = np.array(assign(table, FRACTIONS, seed=1))
    names = np.array(table.class_name)
    worst = max(
        abs(((parts == part) & (names == name)).sum() - fraction * (names == name).sum())
        for part, fraction in zip(PARTS, FRACTIONS, strict=True)
        for name in set(table.class_name)
    )

    assert 10015 == len(parts)
    assert worst < 1.0


@pytest.fixture
def certified(parsed, study):
    """A split of 40 small patients, and its folder."""
    rows = [
        row(f"i{n}", label(f"L{n}", ["nevus", "melasma", "ephelis", "solar lentigo"][n % 4]), patient=f"P-{n // 2}")
        for n in range(80)
    ]
    workspace = parsed(*rows)
    made = split(workspace, study)
    return workspace, made, workspace.split(made.split_id)


def test_a_split_is_made_once_and_byte_identical(certified, study):
    workspace, made, folder = certified
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    again = split(workspace, study)

    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert made.split_id == again.split_id
    assert split(workspace, study).already_there
    assert 80 == len(workspace.rows("from splits"))


def test_a_certificate_holds_and_says_what_it_proves(certified):
    _, made, folder = certified
    verified = verify(folder)

    assert (made.split_id, 80, 3) == (verified.split_id, 80, verified.parts)
    assert any("no patient" in check for check in verified.checks)
    assert "case_id,part," == (folder / "cases.csv").read_text()[:13]


def test_verify_sql_runs_alone_in_its_folder(certified, monkeypatch):
    _, _, folder = certified
    monkeypatch.chdir(folder)
    answer = duckdb.connect().execute((folder / "verify.sql").read_text()).fetchall()

    assert [("PASS", "cases in 3 parts", 80)] == answer


@pytest.mark.parametrize("name", ["cases.csv", "certificate.json", "verify.sql"])
def test_a_changed_byte_fails(certified, name):
    _, _, folder = certified
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(LeakError):
        verify(folder)


@pytest.mark.parametrize("name", ["cases.csv", "certificate.json", "verify.sql"])
def test_a_missing_file_fails(certified, name):
    _, _, folder = certified
    (folder / name).unlink()

    with pytest.raises(LeakError):
        verify(folder)


def forge(folder, change):
    """Change cases.csv and seal the certificate anew, as someone would who wants to hide a leak."""
    from toolkit.files import sha256_of, sha256_of_file, write_json

    path = folder / "cases.csv"
    path.write_text(change(path.read_text()))
    stated = json.loads((folder / "certificate.json").read_text())
    del stated["seal"]
    stated["files"]["cases.csv"] = sha256_of_file(path)
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})


def test_a_leak_is_found_even_in_a_certificate_that_was_sealed_anew(certified):
    _, _, folder = certified

    def leak(text):
        lines = text.splitlines()
        fields = [line.split(",") for line in lines[1:]]
        moved = next(f for f in fields if f[1] == "train")
        moved[1] = "test"
        return "\n".join([lines[0], *(",".join(f) for f in fields)]) + "\n"

    forge(folder, leak)

    with pytest.raises(LeakError, match="a patient stands in two parts"):
        verify(folder)


def test_a_case_listed_twice_is_found(certified):
    _, _, folder = certified
    forge(folder, lambda text: text + text.splitlines()[1] + "\n")

    with pytest.raises(LeakError, match="a case stands on two rows"):
        verify(folder)


def test_nothing_to_split_says_what_to_do(parsed, study):
    with pytest.raises(WorkspaceError, match="no case with a resolved class"):
        split(parsed(row("i1")), study)
