import pytest
from exports import label, row
from PIL import Image

from toolkit.audit import MEANING, audit
from toolkit.cases import case_id_of
from toolkit.split import split


def photograph(path, colour):
    Image.new("RGB", (200, 100), colour).save(path)


@pytest.fixture
def twice(tmp_path, parsed):
    """Six photographs: a and b the same bytes of one patient, c the same pixels of another, the rest their own."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name, colour in {"a": "red", "b": "red", "d": "blue", "e": "green", "f": "white"}.items():
        photograph(folder / f"{name}.png", colour)
    photograph(folder / "c.bmp", "red")
    rows = [
        row("a", label("La", "nevus"), external_id="a.png"),
        row("b", label("Lb", "nevus"), external_id="b.png"),
        row("c", label("Lc", "nevus"), patient="P-2", external_id="c.bmp"),
        row("d", label("Ld", "nevus"), label("Ld2", "melasma", by="r2"), patient="P-3", external_id="d.png"),
        row("e", label("Le", "melasma"), patient="P-4", external_id="e.png"),
        row("f", label("Lf", "melasma"), patient="P-5", external_id="f.png"),
    ]
    return parsed(*rows, images=folder)


def found(workspace):
    rows = workspace.rows("select kind, case_id, other_case_id, detail from findings order by kind, other_case_id")
    return [(r["kind"], {r["case_id"], r["other_case_id"]}, r["detail"]) for r in rows]


def test_duplicates_and_disagreements_are_found(twice):
    result = audit(twice)
    ids = {name: case_id_of(name, "") for name in "abcd"}
    least = min(ids["a"], ids["b"])
    pairs = {kind: members for kind, members, _ in found(twice)}

    assert {"disagreement": 1, "identical_bytes": 1, "identical_pixels": 1} == result.findings
    assert {ids["a"], ids["b"]} == pairs["identical_bytes"]
    assert {least, ids["c"]} == pairs["identical_pixels"]
    assert {ids["d"], None} == pairs["disagreement"]
    assert 1 == result.across_patients


def test_a_photograph_under_two_patients_is_counted_and_kept_in_one_part(twice, study):
    made = split(twice, study)
    parts = twice.rows(
        "select distinct part from splits inner join cases using (case_id) where image_id in ('a', 'b', 'c')"
    )

    assert 1 == made.linked_patients
    assert 1 == len(parts)


def test_an_audit_replaces_the_one_before(twice):
    first, second = audit(twice), audit(twice)

    assert first == second


def test_every_kind_of_finding_has_its_meaning(finished):
    kinds = {r["kind"] for r in finished.workspace.rows("select distinct kind from findings")}

    assert set() == kinds - set(MEANING)


def test_findings_name_no_patient(parsed):
    workspace = parsed(row("i1", label("L1", "nevus"), label("L2", "melasma", by="jane@example.org"), patient="JANE"))
    audit(workspace)

    assert ["disagreement"] == [kind for kind, _, _ in found(workspace)]
    assert not any("jane" in detail.lower() for _, _, detail in found(workspace))
