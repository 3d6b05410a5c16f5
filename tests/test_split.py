import csv
import hashlib
import json
import shutil

import duckdb
import pytest
from exports import label, row, write
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toolkit.errors import LeakError, SplitError, StudyError, WorkspaceError
from toolkit.manifest import load_study
from toolkit.manifest.cohort import RELATIONS, SplitSection
from toolkit.shipped import shipped
from toolkit.stages.parse import parse
from toolkit.stages.split import split
from toolkit.stages.split.assignment import assign
from toolkit.stages.split.groups import SplitCase, grouped
from toolkit.workspace.certificate import PARTS, digest, salt_of
from toolkit.workspace.patient_links import PatientLink, components, reasons
from toolkit.workspace.registry import Workspace
from toolkit.workspace.verification import verify, verify_photographs

CLASSES = ["nevus", "melasma", "ephelis"]


def case_of(number, patient, group, class_name, *strata):
    return SplitCase(f"{number:05}", patient, "", group, class_name, None, "", strata)


@st.composite
def cohorts(draw):
    """Cases of patients, a few of whom are linked; every group may be placed anywhere."""
    patients = draw(st.integers(3, 40))
    pairs = draw(st.lists(st.tuples(st.integers(0, patients - 1), st.integers(0, patients - 1)), max_size=4))
    links = [PatientLink("identical_pixels", f"p-{a}", f"p-{b}") for a, b in pairs if a != b]
    named = [
        (f"{number:05}", f"p-{patient}")
        for number, patient in enumerate(p for p in range(patients) for _ in range(draw(st.integers(1, 4))))
    ]
    groups = grouped(named, links)
    return [
        case_of(int(case), patient, group, draw(st.sampled_from(CLASSES)))
        for (case, patient), group in zip(named, groups, strict=True)
    ]


def parts_of(cases, *, seed=1):
    assume(len({c.group_id for c in cases}) > 2)
    return assign(cases, SplitSection(uneven=True), seed=seed, fixed={})[0].parts


@settings(max_examples=25, deadline=None)
@given(cohorts())
def test_no_patient_and_no_group_stands_in_two_parts(cases):
    parts = parts_of(cases)
    for field in ("patient_id", "group_id"):
        seen = {}
        for case, part in zip(cases, parts, strict=True):
            assert part == seen.setdefault(getattr(case, field), part)
    assert set(parts) <= set(PARTS)


@settings(max_examples=4, deadline=None)
@given(cohorts())
def test_other_pseudonyms_give_the_same_split(cases):
    renamed = [case._replace(patient_id=f"q-{hash(case.patient_id) % 10**9}") for case in cases]

    assert parts_of(cases, seed=2) == parts_of(renamed, seed=2)


def test_linked_patients_are_one_group_and_the_reason_is_kept():
    links = [
        PatientLink("identical_bytes", "p1", "p2"),
        PatientLink("near_duplicate", "p2", "p3"),
        PatientLink("near_duplicate", "p5", "p9"),
    ]
    cases = [("c", "p3"), ("d", "p4"), ("a", "p1"), ("b", "p5")]

    assert ["a", "d", "a", "b"] == grouped(cases, links)
    assert components(links)["p1"] == components(links)["p3"]
    assert {"identical_bytes": 1, "near_duplicate": 1} == reasons(links, {"p1", "p3", "p4", "p5"})


def test_patients_are_linked_through_one_who_has_no_case():
    links = [PatientLink("identical_pixels", "p1", "gone"), PatientLink("identical_pixels", "gone", "p2")]

    assert ["a", "a"] == grouped([("a", "p1"), ("b", "p2")], links)


def test_each_fold_validates_once_and_test_is_the_same_in_all():
    cases = [case_of(n, f"p{n}", f"{n:05}", CLASSES[n % 3]) for n in range(90)]
    folds = assign(cases, SplitSection(folds=4, test=0.2), seed=1, fixed={})
    tests = {tuple(part == "test" for part in fold.parts) for fold in folds}
    validated = [sum(fold.parts[n] == "validation" for fold in folds) for n in range(90)]

    assert 4 == len(folds)
    assert 1 == len(tests)
    assert [0 if in_test else 1 for in_test in next(iter(tests))] == validated


def test_a_test_part_that_is_held_out_first_does_not_depend_on_the_rest():
    cases = [case_of(n, f"p{n // 2}", f"{n // 2:05}", CLASSES[n % 3]) for n in range(120)]
    sections = [SplitSection(held_out_first=True, train=t, validation=0.8 - t, test=0.2) for t in (0.6, 0.5)]
    one, other = ([p == "test" for p in assign(cases, section, seed=3, fixed={})[0].parts] for section in sections)

    assert one == other
    assert 24 == sum(one)


@pytest.fixture(scope="module")
def split_once(tmp_path_factory, study, key):
    """A workspace with a split of 40 small patients."""
    folder = tmp_path_factory.mktemp("split")
    names = ["nevus", "melasma", "ephelis", "solar lentigo"]
    rows = [row(f"i{n}", label(f"L{n}", names[n % 4]), patient=f"P-{n // 2}") for n in range(80)]
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, key, [write(folder / "export.ndjson", rows)])
    return workspace, split(workspace, study)


@pytest.fixture
def certified(split_once, tmp_path):
    """A copy of it, the split, and its folder."""
    workspace, made = split_once
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    return copy, made, copy.split(made.split_id)


@pytest.fixture
def forty(split_forty, tmp_path):
    """A copy of a workspace with a split of forty patients of one case each, and the split."""
    workspace, made = split_forty
    copy = Workspace(tmp_path / "workspace")
    shutil.copytree(workspace.folder, copy.folder)
    return copy, made


@pytest.fixture(scope="module")
def split_forty(tmp_path_factory, study, key):
    folder = tmp_path_factory.mktemp("forty")
    workspace = Workspace(folder / "workspace")
    parse(workspace, study, key, [write(folder / "export.ndjson", rows_with(40))])
    return workspace, split(workspace, study)


def splitting(study, **changed):
    return study.model_copy(update={"split": study.split.model_copy(update=changed)})


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


def metadata(name, value):
    return {"schema_name": name, "schema_kind": "CustomMetadataString", "value": value}


def rows_with(count, **fields):
    """Return rows of so many patients with one nevus or melasma each; a field's function gives its value or None."""
    rows = []
    for n in range(count):
        one = row(f"i{n:03}", label(f"L{n}", ["nevus", "melasma"][n % 2]), patient=f"P-{n}")
        values = [(name, value_of(n)) for name, value_of in fields.items()]
        one["metadata_fields"] += [metadata(name, value) for name, value in values if value is not None]
        rows.append(one)
    return rows


def cases_in(folder):
    with (folder / "cases.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.soak
def test_strata_are_metadata_fields_and_a_missing_value_is_one(parsed, study):
    workspace = parsed(*rows_with(60, sex=lambda n: [None, "female", "male"][n % 3]))
    made = split(workspace, splitting(study, strata={"sex": 1.0}))
    stated = json.loads((workspace.split(made.split_id) / "certificate.json").read_text())
    by_value = {each["value"]: each for each in stated["strata"] if each["stratum"] == "sex"}

    assert {"female", "male", "(missing)"} == set(by_value)
    assert {"train": 12, "validation": 4, "test": 4} == by_value["(missing)"]["counts"]
    listed = [json.loads(c["strata"])["sex"] for c in cases_in(workspace.split(made.split_id))]
    assert [20, 20, 20] == [listed.count(value) for value in by_value]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("field", "message"), [("colour", "no photograph has this metadata field"), ("age", "it has 70 values")]
)
def test_a_stratum_that_makes_no_groups_is_refused(parsed, study, field, message):
    workspace = parsed(*rows_with(70, age=str))

    with pytest.raises(StudyError, match=message):
        split(workspace, splitting(study, strata={field: 1.0}))


def test_a_target_that_cannot_be_met_names_class_and_largest_group(parsed, study):
    rows = [row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{max(n - 8, 0)}") for n in range(12)]

    with pytest.raises(SplitError, match=r"class nevus .* its 12 cases are in 4 groups, 9 of them in the largest"):
        split(parsed(*rows), splitting(study, uneven=False))


def test_every_fold_is_a_split_of_its_own_and_the_first_is_the_newest(forty, study):
    workspace, _ = forty
    made = split(workspace, splitting(study, folds=3))
    newest = workspace.rows("select split_id from splits order by created_at desc limit 1")[0]["split_id"]

    assert 3 == len(set(made.folds))
    assert made.folds[0] == newest == made.split_id
    assert [40, 40, 40] == [verify(workspace.split(fold)).cases for fold in made.folds]


def linked(workspace, first, other, relation="near_duplicate"):
    """Write a pair as a search for duplicates would, and that today's photographs were searched."""
    with workspace.writing() as connection:
        connection.execute("insert into duplicates values (?, ?, ?, 0.99, 'mirrored')", [first, other, relation])
        connection.execute("delete from duplicate_searches")
        digests = connection.execute(
            "select distinct pixel_sha256 from images where pixel_sha256 is not null"
        ).fetchall()
        text = "\n".join(sorted(digest for (digest,) in digests))
        connection.execute("insert into duplicate_searches values ('{}', sha256(?), 1, 1)", [text])


BINDS = [*RELATIONS]


def test_a_near_duplicate_binds_and_is_named_as_the_reason(forty, study):
    workspace, _ = forty
    linked(workspace, "i000", "i007")
    made = split(workspace, splitting(study, binds=BINDS))
    stated = json.loads((workspace.split(made.split_id) / "certificate.json").read_text())

    assert {"near_duplicate": 1} == made.reasons
    assert 1 == made.linked_patients
    assert ["near_duplicate"] == [link["relation"] for link in stated["links"]]
    assert 0 == split(workspace, splitting(study, binds=BINDS[:-1])).linked_patients


def test_near_duplicates_that_bind_must_have_been_looked_for(finished, copied):
    study = splitting(finished.study_file.study, binds=BINDS)
    with copied.writing() as connection:
        connection.execute("delete from duplicate_searches")

    with pytest.raises(WorkspaceError, match="have not been searched for"):
        split(copied, study)

    images = copied.rows(
        "select min(image_id) as id from cases inner join truth using (case_id) where class_name is not null "
        "group by patient_id order by id limit 2"
    )
    linked(copied, *(image["id"] for image in images))
    made = split(copied, study)
    with copied.writing() as connection:
        connection.execute("update images set pixel_sha256 = 'changed' where image_id = ?", [images[0]["id"]])

    assert made.reasons["near_duplicate"] >= 1
    with pytest.raises(WorkspaceError, match="among other photographs"):
        split(copied, study)


def grown(workspace, study, key, tmp_path, rows):
    parse(workspace, study, key, [write(tmp_path / "later.ndjson", rows)])


def placed(workspace, split_id):
    return {c["case_id"]: c["part"] for c in cases_in(workspace.split(split_id))}


def test_growth_keeps_old_patients_and_places_new_ones(forty, study, key, tmp_path):
    rows = rows_with(60)
    workspace, first = forty
    again = row("i900", label("L900", "nevus"), patient="P-0")
    grown(workspace, study, key, tmp_path, [*rows, again])
    second = split(workspace, study, frozen=first.split_id)
    old, new = placed(workspace, first.split_id), placed(workspace, second.split_id)
    patient = patient_of(workspace, "i900")
    of_patient_0 = {c["case_id"] for c in cases_in(workspace.split(second.split_id)) if c["patient_id"] == patient}

    assert old == {case: part for case, part in new.items() if case in old}
    assert (40, 21, 0, []) == (second.kept, second.placed, second.gone, second.incidents)
    assert second.deviation <= 2 + second.bound
    assert {new[case] for case in new if case in of_patient_0} == {old[case] for case in old if case in of_patient_0}


def patient_of(workspace, image):
    return workspace.rows("select patient_id from images where image_id = $image", {"image": image})[0]["patient_id"]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("incidents", ["drop", "move"])
def test_patients_who_turn_out_to_be_one_are_an_incident(forty, study, incidents):
    workspace, first = forty
    parts = {c["patient_id"]: c["part"] for c in cases_in(workspace.split(first.split_id))}
    images = {r["patient_id"]: r["image_id"] for r in workspace.rows("select patient_id, image_id from images")}
    in_train = next(images[p] for p, part in parts.items() if part == "train")
    in_test = next(images[p] for p, part in parts.items() if part == "test")
    linked(workspace, in_train, in_test)
    second = split(workspace, splitting(study, binds=BINDS, incidents=incidents), frozen=first.split_id)
    stated = json.loads((workspace.split(second.split_id) / "certificate.json").read_text())
    of_both = {patient_of(workspace, in_train), patient_of(workspace, in_test)}
    left = {c["part"] for c in cases_in(workspace.split(second.split_id)) if c["patient_id"] in of_both}

    assert of_both == set(second.incidents[0].patients) == set(stated["frozen"]["incidents"][0]["patients"])
    assert (["train", "test"], 2) == (second.incidents[0].parts, second.incidents[0].cases)
    assert {"drop": set(), "move": {"train"}}[incidents] == left
    assert {"drop": 38, "move": 39}[incidents] == second.kept


def test_an_unknown_split_cannot_be_frozen(certified, study):
    workspace, made, _ = certified

    with pytest.raises(WorkspaceError, match="no such split: nothing") as caught:
        split(workspace, study, frozen="nothing")

    assert made.split_id in str(caught.value)


def test_a_pinned_split_is_taken_as_it_stands(certified, study, tmp_path):
    workspace, made, folder = certified
    shutil.copytree(folder, tmp_path / "demo.split")
    shutil.rmtree(folder)
    other = study.model_copy(update={"study": study.study.model_copy(update={"seed": 99})})
    taken = split(workspace, splitting(other, pinned="demo.split"), study_folder=tmp_path)

    assert (made.split_id, True) == (taken.split_id, taken.pinned)
    assert made.counts == taken.counts
    assert verify(folder).cases == 80


def test_a_pinned_split_refuses_cases_it_does_not_know_until_it_is_frozen(forty, study, key, tmp_path):
    rows = rows_with(50)
    workspace, first = forty
    shutil.copytree(workspace.split(first.split_id), tmp_path / "own.split")
    pinned = splitting(study, pinned="own.split")
    grown(workspace, study, key, tmp_path, rows)

    with pytest.raises(WorkspaceError, match="does not know 10 of 50 cases"):
        split(workspace, pinned, study_folder=tmp_path)
    assert 10 == split(workspace, pinned, study_folder=tmp_path, frozen="pinned").placed


def test_a_pinned_split_that_divides_what_is_now_one_is_refused(forty, study, tmp_path):
    workspace, first = forty
    shutil.copytree(workspace.split(first.split_id), tmp_path / "own.split")
    cases = {c["part"]: c["patient_id"] for c in cases_in(tmp_path / "own.split")}
    images = {r["patient_id"]: r["image_id"] for r in workspace.rows("select patient_id, image_id from images")}
    linked(workspace, images[cases["train"]], images[cases["test"]])

    with pytest.raises(LeakError, match="the pinned split divides 1 groups"):
        split(workspace, splitting(study, pinned="own.split", binds=BINDS), study_folder=tmp_path)


def test_digests_are_computed_again_from_photographs(finished):
    folder = finished.workspace.split(finished.results["Split"].split_id)
    by_files = verify(folder, images=finished.images)
    by_registry = verify_photographs(finished.workspace, folder)

    assert "photograph digests re-computed" in by_files.photographs
    assert f"for {by_registry.cases} of {by_registry.cases} cases" in by_registry.photographs
    assert "not checked" in verify(folder).photographs


def test_digests_are_salted_as_the_certificate_states():
    assert hashlib.sha256(b"salt+pixels").hexdigest()[:32] == digest("salt+", "pixels")
    assert hashlib.sha256(b"salt+pixels 1.0,2.0").hexdigest()[:32] == digest("salt+", "pixels", "1.0,2.0")
    assert salt_of("0000000a") != salt_of("0000000b")


def test_a_photograph_that_is_another_one_is_found(finished, tmp_path):
    folder = finished.workspace.split(finished.results["Split"].split_id)
    (tmp_path / "images").mkdir()

    with pytest.raises(LeakError, match="no photograph has the digest of case"):
        verify(folder, images=tmp_path / "images")


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("images set path = (select max(path) from images)", "the photograph of case .* is not the one that was split"),
        ("images set path = 'gone.png'", "the photograph of case .* cannot be read"),
        ("cases set roi_left = roi_left + 1", "the crop of case .* is not the one that was split"),
    ],
)
def test_a_registered_photograph_or_crop_that_is_another_one_is_found(finished, copied, change, message):
    with copied.writing() as connection:
        connection.execute(f"update {change}")

    with pytest.raises(LeakError, match=message):
        verify_photographs(copied, copied.split(finished.results["Split"].split_id))


LEAKS = {
    "patient": ("patient_id", "a patient stands in two parts"),
    "lesion": ("lesion_id", "a lesion stands in two parts"),
    "pixels": ("photograph_digest", "a photograph stands in two parts"),
    "group": ("group_id", "a group of linked patients stands in two parts"),
}


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_of_every_kind_is_found_in_a_certificate(certified, kind):
    _, _, folder = certified
    field, message = LEAKS[kind]
    rows = cases_in(folder)
    first = next(r for r in rows if r["part"] == "train")
    other = next(r for r in rows if r["part"] == "test" and r["class_name"] == first["class_name"])
    if kind == "lesion":
        other["patient_id"] = first["patient_id"]
        first["lesion_id"] = "l-1"
    first[field] = first[field] or "0" * 32
    other[field] = first[field]
    text = [",".join(rows[0]), *(",".join(f'"{v}"'.replace('"{}"', "{}") for v in r.values()) for r in rows)]
    forge(folder, lambda _: "\n".join(text) + "\n")

    with pytest.raises(LeakError, match=message):
        verify(folder)


def test_a_link_across_parts_is_found_in_a_certificate(certified):
    from toolkit.files import sha256_of, write_json

    _, _, folder = certified
    rows = cases_in(folder)
    ends = [next(r["patient_id"] for r in rows if r["part"] == part) for part in ("train", "test")]
    stated = json.loads((folder / "certificate.json").read_text())
    stated["links"] = [{"relation": "near_duplicate", "patient_id": ends[0], "other_patient_id": ends[1]}]
    del stated["seal"]
    write_json(folder / "certificate.json", {**stated, "seal": sha256_of(stated)})

    with pytest.raises(LeakError, match="linked patients stand in two parts"):
        verify(folder)


def test_the_demos_pinned_split_holds_and_knows_the_demos_cases():
    folder = shipped("manifests") / "demo.split"

    assert 944 == verify(folder).cases
    assert "demo.split" == load_study(shipped("manifests") / "demo.toml").split.pinned


def test_the_published_plan_gives_the_published_test_part():
    section = load_study(shipped("manifests") / "pigmented8.toml").split
    published = {"acquired_dermal_melanocytosis": 136, "basal_cell_carcinoma": 113, "ephelis": 92}
    published |= {"malignant_melanoma": 100, "melasma": 167, "nevus": 91}
    published |= {"seborrheic_keratosis": 123, "solar_lentigo": 157}
    names = [name for name, count in published.items() for _ in range(count)]
    cases = [case_of(n, f"p{n * 3 // 5}", f"{n * 3 // 5:05}", name) for n, name in enumerate(names)]
    parts = assign(cases, section, seed=42, fixed={})[0].parts
    counts = {
        name: [sum(p == part and c.class_name == name for p, c in zip(parts, cases, strict=True)) for part in PARTS]
        for name in published
    }

    assert dict(section.targets["test"]) == {name: tested for name, (_, _, tested) in counts.items()}
    assert 979 == len(cases)
    assert all(abs(validated - 0.2 * (trained + validated)) < 1 for trained, validated, _ in counts.values())


def test_the_sample_that_has_a_pinned_split_brings_it_along(tmp_path):
    from toolkit.synthetic import sample

    made = sample(tmp_path / "sample", photographs=False)

    assert 944 == verify(made.folder / "demo.split").cases
    assert "demo.split" == load_study(made.study).split.pinned


@pytest.mark.soak
def test_the_commands_take_a_frozen_split_and_registered_photographs(copied, finished, capsys):
    from toolkit.cli import main

    split_id = finished.results["Split"].split_id
    start = ["--study", str(finished.study_file.path), "--workspace", str(copied.folder), "--json"]
    answers = []
    for command in (["split", "--frozen", split_id], ["verify", str(copied.split(split_id)), "--registered"]):
        with pytest.raises(SystemExit) as left:
            main([*start, *command])
        answers.append(json.loads(capsys.readouterr().out))

        assert not left.value.code
    assert (0, 0) == (answers[0]["placed"], answers[0]["gone"])
    assert finished.results["Split"].counts == answers[0]["counts"]
    assert "re-computed" in answers[1]["photographs"]
