"""Every format that Labelbox has exported: recognised, never asked for, and nothing of a row lost."""

import csv
import gzip
import json
import os
import shutil
import tracemalloc
from collections import Counter
from contextlib import suppress
from pathlib import Path

import exports
import msgspec
import pytest
from exports import box, label, radio, row

from toolkit.cases import case_id_of
from toolkit.errors import ExportError
from toolkit.labelbox_json.counting import Counts
from toolkit.labelbox_json.reader import RawRow, raw_rows
from toolkit.labelbox_json.rows import Quarantine, ReadRow, RowReader
from toolkit.stages.parse import parse
from toolkit.stages.status import status
from toolkit.workspace.registry import Workspace

ROWS = [row(f"i{n}", label(f"L{n}", "nevus", boxes=[box(f"o{n}", 9, 9, 50, 50)]), patient=f"P-{n}") for n in range(3)]
BOM = b"\xef\xbb\xbf"


def ndjson(rows):
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


FORMS = {
    "ndjson": ndjson(ROWS),
    "ndjson, no last newline": ndjson(ROWS).rstrip(),
    "ndjson, blank lines": b"\n\n" + ndjson(ROWS).replace(b"\n", b"\n\n"),
    "array on one line": json.dumps(ROWS).encode(),
    "array, a row a line": b"[\n" + ndjson(ROWS).strip().replace(b"\n", b",\n") + b"\n]\n",
    "array, indented": json.dumps(ROWS, indent=2).encode(),
    "array, compact": json.dumps(ROWS, separators=(",", ":")).encode(),
    "documents, indented": "\n".join(json.dumps(one, indent=4) for one in ROWS).encode(),
    "documents on one line": b" ".join(json.dumps(one).encode() for one in ROWS),
}
WRAPPED = {
    "as it is": lambda data: data,
    "BOM": lambda data: BOM + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "BOM, CRLF, gzip": lambda data: gzip.compress(BOM + data.replace(b"\n", b"\r\n"), mtime=0),
}


def read(path, *, longest=2_000_000):
    return list(raw_rows(path, longest=longest))


def written(folder, data, name="export.json"):
    (folder / name).write_bytes(data)
    return folder / name


def conserved(workspace):
    found = workspace.rows("select noun, read, stored, quarantined from conservation")
    return {r["noun"]: (r["read"], r["stored"], r["quarantined"]) for r in found}


def reasons(workspace):
    return sorted(r["reason"] for r in workspace.rows("from ingest_issues"))


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_rows_and_where_they_begin(tmp_path, data, wrapped):
    data = wrapped(data)
    plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    path = written(tmp_path, data, "export.json.gz" if plain is not data else "export.json")
    found = read(path)

    assert ROWS == [json.loads(line.content) for line in found]
    assert [1, 2, 3] == [line.row for line in found]
    for line in found:
        assert plain[line.offset :].startswith(line.content)
        assert 1 + plain[: line.offset].count(b"\n") == line.number


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("form", ["ndjson", "array on one line", "array, indented", "documents, indented"])
def test_every_form_gives_the_same_registry(study, key, tmp_path, form):
    workspace = Workspace(tmp_path / "workspace")
    parse(workspace, study, key, [written(tmp_path, FORMS[form])])

    assert {case_id_of(f"i{n}", f"o{n}") for n in range(3)} == {r["case_id"] for r in workspace.rows("from truth")}
    assert (3, 3, 0) == conserved(workspace)["label"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"id"', b'id"'),
        (b'"projects"', b'projects"'),
        (b'"nevus"', b'"nevus'),
        (b'"labels": [', b'"labels":  '),
        (b'"labels": [', b'"labels": ]'),
        (b'"media_attributes"', b'}media_attributes"'),
        (b'"width"', b'{"width"'),
    ],
)
def test_a_damaged_row_costs_itself_only(tmp_path, form, old, new):
    head, middle, tail = FORMS[form].partition(b"key-i1")
    start = head.rindex(b"data_row")
    body = head[start:] + middle + tail
    damaged = head[:start] + body.replace(old.replace(b": ", b":") if form == "array, compact" else old, new, 1)
    found = [json.loads(line.content)["data_row"]["id"] for line in read(written(tmp_path, damaged)) if is_json(line)]

    assert {"i0", "i2"} <= set(found)


def is_json(line):
    try:
        return isinstance(json.loads(line.content), dict)
    except ValueError:
        return False


def test_an_object_that_ends_too_early_is_damaged_not_a_row_without_labels(tmp_path, study, key):
    cut = json.dumps(ROWS).replace(', "media_attributes"', '} "media_attributes"', 1).encode()
    indented = json.dumps(ROWS, indent=2).replace(',\n    "media_attributes"', '}\n    "media_attributes"', 1).encode()
    for data in (cut, indented):
        found = [RowReader(study, key).read(line).reason for line in read(written(tmp_path, data))]

        assert ["json_syntax", None, None] == found


def test_a_row_longer_than_allowed_and_one_too_deep_cost_themselves_only(tmp_path, study, key):
    deep = json.dumps(ROWS[1])[:-1] + ', "x": ' + "[" * 60_000 + "]" * 60_000 + "}"
    long = json.dumps({**ROWS[1], "x": "y" * 700_000})
    for text in (deep, long):
        data = f"[{json.dumps(ROWS[0])}, {text}, {json.dumps(ROWS[2])}]".encode()
        found = [RowReader(study, key).read(line).reason for line in read(written(tmp_path, data), longest=500_000)]

        assert [None, "json_depth" if text is deep else "line_too_long", None] == found


def test_a_document_is_read_in_constant_memory(tmp_path):
    path = written(tmp_path, b"[" + b", ".join([json.dumps(ROWS[0]).encode()] * 6_000) + b"]")
    tracemalloc.start()
    count = sum(1 for _ in raw_rows(path, longest=100_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 6_000 == count
    assert peak < 5_000_000 < path.stat().st_size


def test_a_quarantined_row_tells_its_line_and_its_byte(workspace, study, key, tmp_path):
    parse(workspace, study, key, [written(tmp_path, ndjson(ROWS[:1]) + b'  {"data_row": 1}\n' + ndjson(ROWS[1:]))])
    issue = workspace.rows("from ingest_issues")[0]

    assert (2, len(ndjson(ROWS[:1])) + 2) == (issue["line"], issue["byte_offset"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"a": 1, "a": 2}', "a"),
        ('{"a": 1, "\\u0061" :2}', "a"),
        ('{"x": [{"b": {"c": 1, "d": "\\u0022:", "c": 1}}]}', "c"),
        ('{"a": 1, "b": {"a": 2}}', None),
        ('{"a": "say \\"a\\": \\"b\\" : c", "b": "\\u0022:"}', None),
    ],
)
def test_a_key_that_stands_twice_is_found_wherever_it_stands(text, named):
    from toolkit.labelbox_json.keys import names_of, repeated

    written = msgspec.json.encode(json.loads(text))

    assert named == repeated(text.encode(), len(names_of(written)))


def entry(label_id, held, *, image="d1", **more):
    return {
        "ID": label_id,
        "DataRow ID": image,
        "Labeled Data": f"https://storage.example.org/{image}.jpg?token={label_id}",
        "Label": held,
        "Created By": f"{label_id}@example.org",
        "Project Name": "pigmented-lesions",
        "Created At": "2021-07-13T21:19:39.000Z",
        "Updated At": "2021-07-13T21:19:39.000Z",
        "Seconds to Label": 12.5,
        "External ID": f"{image}.jpg",
        "Agreement": -1,
        "Benchmark Agreement": None,
        "View Label": f"https://editor.labelbox.com?project=project-1&label={label_id}",
        "Skipped": False,
        "DataRow Metadata": [{"schemaId": "m1", "schemaName": "patient_id", "value": "P-1"}],
        "Media Attributes": {"height": 100, "width": 200},
        **more,
    }


NEVUS = {"title": "nevus", "value": "nevus", "schemaId": "s", "featureId": "f"}
POINTS = [{"x": -1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 6}]


def question(**answer):
    return {"title": "diagnosis", "value": "diagnosis", **answer}


LEGACY = {
    "radio": ({"classifications": [question(answer=NEVUS)], "objects": []}, (0, 1)),
    "radio with a nested one": (
        {"classifications": [question(answer={**NEVUS, "classifications": [[question(answer="sure")]]})]},
        (0, 2),
    ),
    "text": ({"classifications": [question(answer="seen twice")]}, (0, 1)),
    "checklist as answers": ({"classifications": [question(answers=[NEVUS, NEVUS])]}, (0, 2)),
    "checklist as a list": ({"classifications": [question(answer=[NEVUS])]}, (0, 1)),
    "not answered": ({"classifications": [question(answer=None)]}, (0, 0)),
    "list of lists": (
        {"objects": [{"title": "a", "polygon": POINTS, "classifications": [[question(answer=NEVUS)]]}]},
        (1, 1),
    ),
    "geometries": (
        {
            "objects": [
                {"title": "a", "bbox": {"top": 1, "left": 2, "height": 3, "width": 4}, "instanceURI": "https://x/?t=1"},
                {"title": "b", "polygon": POINTS},
                {"title": "c", "line": POINTS},
                {"title": "d", "point": POINTS[0]},
                {"title": "e", "instanceURI": "https://x.org/mask?token=SECRET"},
            ]
        },
        (5, 0),
    ),
    "skipped": ({}, (0, 0)),
    "skipped, 2018": ("Skip", (0, 0)),
    "polygons, 2018": ({"Lesion": [POINTS, POINTS], "Vessel": [{"geometry": POINTS}]}, (3, 0)),
    "one outline, 2018": ({"Lesion": POINTS}, (1, 0)),
    "a point, 2018": ({"Lesion": [{"geometry": POINTS[0]}]}, (1, 0)),
    "answers, 2018": ({"diagnosis": "nevus", "seen": ["hair", "gel"]}, (0, 3)),
    "masks, 2019": ({"segmentationMasksByName": {"Lesion": "https://x.org/m?token=SECRET"}}, (1, 0)),
}


@pytest.mark.parametrize(("held", "counts"), LEGACY.values(), ids=LEGACY)
def test_every_shape_of_a_legacy_label_is_read_and_counted(study, key, held, counts):
    taken = RowReader(study, key).read(RawRow(1, 1, 0, json.dumps(entry("L1", held)).encode()))
    stored = taken.records["labels"][0]

    assert counts == (taken.counts.object, taken.counts.answer)
    assert counts == tuple(len(taken.records.get(table, ())) for table in ("objects", "answers"))
    assert (None, None) == (stored.consensus_score, stored.benchmark_score)
    assert (held == "Skip") == stored.skipped


def test_every_shape_of_a_legacy_label_is_stored_once_its_signatures_are_gone(workspace, study, key, tmp_path):
    entries = [entry(f"L{n}", held, image=f"d{n}") for n, (held, _) in enumerate(LEGACY.values())]
    parse(workspace, study, key, [written(tmp_path, json.dumps(entries).encode())])
    objects, answers = (sum(counts[n] for _, counts in LEGACY.values()) for n in (0, 1))
    found = conserved(workspace)

    assert ((objects, objects, 0), (answers, answers, 0)) == (found["object"], found["answer"])
    assert b"SECRET" not in workspace.registry.read_bytes()


def test_the_oldest_form_has_no_id_and_its_seconds_are_a_text(workspace, study, key, tmp_path):
    old = {
        "ID": "L1",
        "Labeled Data": "https://storage.example.org/a.jpg?Expires=1",
        "Label": {"Lesion": [POINTS]},
        "Created By": "a@example.org",
        "Project Name": "pigmented-lesions",
        "Seconds to Label": "12.5",
        "External ID": "a.jpg",
        "Masks": {"Lesion": "https://x.org/m.png?token=SECRET"},
    }
    again = {**old, "ID": "L2", "Labeled Data": "https://storage.example.org/a.jpg?Expires=2"}
    parse(workspace, study, key, [written(tmp_path, ndjson([old, again]))])

    assert (2, 2, 0) == conserved(workspace)["label"]
    assert (4, 4, 0) == conserved(workspace)["object"]
    assert [12.5, 12.5] == [r["seconds_to_create"] for r in workspace.rows("from labels")]
    assert [{"external_id": "a.jpg"}] == workspace.rows("select external_id from images")


def diagnosed(answer):
    return {"classifications": [question(answer={"title": answer, "value": answer})]}


def test_entries_of_one_photograph_are_its_labels(workspace, study, key, tmp_path):
    entries = [entry("L1", diagnosed("nevus")), entry("L2", diagnosed("melasma")), entry("L3", diagnosed("nevus"))]
    parse(workspace, study, key, [written(tmp_path, ndjson([*entries, entries[0]]))])

    assert [] == reasons(workspace)
    assert (3, 3, 0) == conserved(workspace)["row"]
    assert [("nevus", "majority", 3)] == [
        (r["class_name"], r["resolved_by"], r["readings"]) for r in workspace.rows("from truth")
    ]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    "other",
    [
        entry("L1", diagnosed("melasma")),
        entry("L2", diagnosed("nevus"), **{"DataRow Metadata": [{"schemaName": "patient_id", "value": "P-2"}]}),
    ],
    ids=["the same label says something else", "another patient"],
)
def test_entries_that_contradict_each_other_are_not_stored(workspace, study, key, tmp_path, other):
    rows = [entry("L1", diagnosed("nevus")), other, row("i9", label("L9", "nevus"))]
    parse(workspace, study, key, [written(tmp_path, ndjson(rows))])

    assert ["conflicting_duplicate"] * 2 == reasons(workspace)
    assert (3, 1, 2) == conserved(workspace)["row"]


def test_a_legacy_entry_of_a_wrong_type_is_quarantined(workspace, study, key, tmp_path):
    wrong = [
        entry("L1", "what?"),
        entry("L2", {"objects": [7]}),
        entry("L3", {"classifications": [question(answer=7)]}),
        entry(7, {}),
        entry("L5", {"Lesion": [[1, 2]]}),
        {**entry("L6", {}), "Project Name": None},
        {"DataRow ID": "d1"},
    ]
    rows = [*wrong, row("i9", label("L9", "nevus"))]
    parse(workspace, study, key, [written(tmp_path, ndjson(rows))])

    assert (8, 1, 7) == conserved(workspace)["row"]


@pytest.mark.soak
def test_the_same_photograph_and_label_in_both_versions_are_one(workspace, study, key, tmp_path):
    """The legacy export names the same IDs; the later one, in version 2, is the newer revision of the label."""
    parse(workspace, study, key, [written(tmp_path, ndjson([entry("L1", diagnosed("nevus"))]), "old.json")])
    parse(workspace, study, key, [written(tmp_path, ndjson([row("d1", label("L1", "melasma"))]), "new.json")])

    assert [("d1", "project-1")] == [(r["image_id"], r["project_id"]) for r in workspace.rows("from projects")]
    assert [("melasma", 1)] == [(r["class_name"], r["readings"]) for r in workspace.rows("from truth")]


def test_the_real_legacy_export_is_stored_whole(workspace, study, key, shared):
    parse(workspace, study, key, [shared / "labelbox_exports" / "v1_labelbox-python_image_export.json"])
    kinds = Counter(r["annotation_kind"] for r in workspace.rows("from objects"))

    assert (10, 10, 0) == conserved(workspace)["object"]
    assert (8, 8, 0) == conserved(workspace)["answer"]
    assert Counter(
        ImageBoundingBox=4, ImagePolygon=2, ImagePolyline=2, ImageSegmentationMask=1, ImagePoint=1
    ) == Counter(kinds)
    assert ["hmmm"] == [r["answer"] for r in workspace.rows("from answers where kind = 'text'")]


# Of the 353 questions about a whole photograph 48 are checklists with a second answer.
COUNTED = {
    "v2_SYNTHETIC_derm_200.ndjson": {"row": 200, "label": 251, "object": 270, "answer": 353 + 48 + 223 + 95},
    "v2_zealotsniper_bbox_1235rows.ndjson": {"row": 1235, "label": 1235, "object": 1096, "answer": 0},
    "v2_labelformat_bbox.ndjson": {"row": 2, "label": 2, "object": 16, "answer": 0},
    "v1_labelbox-python_image_export.json": {"row": 1, "label": 1, "object": 10, "answer": 8},
}


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("name", COUNTED)
def test_real_exports_hold_what_was_counted_by_hand(workspace, study, key, shared, name):
    parse(workspace, study, key, [shared / "labelbox_exports" / name])
    found = conserved(workspace)

    assert COUNTED[name] == {noun: found[noun][0] for noun in COUNTED[name]}
    assert all(read == stored + quarantined for read, stored, quarantined in found.values())
    assert [0] * len(found) == [row["lost"] for row in workspace.shipped_rows("conservation")]
    assert {} == status(workspace).unknown_keys


def test_annotations_to_be_imported_are_no_export(workspace, study, key, shared):
    paths = sorted((shared / "labelbox_exports").glob("import_*.json"))

    assert 5 == len(paths)
    for path in paths:
        with pytest.raises(ExportError, match="to be imported into Labelbox"):
            parse(workspace, study, key, [path])


@pytest.fixture
def rich_row():
    """A row with everything Labelbox can put beside the labels, and keys it may put there one day."""
    mask = {"name": "m", "annotation_kind": "ImageSegmentationMask", "mask": {"url": "https://x.org/m?token=SECRET"}}
    composite = {**mask, "composite_mask": {"url": "https://x.org/c?Signature=SECRET", "color_rgb": [1, 2, 3]}}
    del composite["mask"]
    made = row("i1", label("L1", "nevus", boxes=[mask, composite, box("o1", 9, 9, 50, 50)]), patient="Jane Doe 1970")
    made["attachments"] = [
        {"type": "IMAGE", "value": "https://x.org/a.jpg?Signature=SECRET", "name": "dermoscopy"},
        {"type": "RAW_TEXT", "value": "Jane Doe 1970, jane@example.org"},
    ]
    made["embeddings"] = [{"id": "e1", "name": "clip", "dimensions": 3, "values": [{"value": [1.0, 2.0, 3.0]}]}]
    made["projects"]["project-1"]["project_tags"] = ["pilot"]
    predicted = {**label("L1", "melasma", "nevus", boxes=[box("p1", 9, 9, 50, 50, "wart")]), "new": {"deep": 1}}
    run = {"name": "first", "split": "TEST", "labels": [label("L1", "melasma")], "predictions": [predicted, predicted]}
    made["experiments"] = {"model-1": {"name": "a model", "runs": {"run-1": run}}}
    return made


def test_what_stands_beside_the_labels_is_stored(parsed, rich_row):
    workspace = parsed(rich_row)

    assert [("IMAGE", "dermoscopy", "https://x.org/a.jpg?[removed]"), ("RAW_TEXT", None)] == [
        tuple(r.values()) if r["kind"] == "IMAGE" else (r["kind"], r["name"])
        for r in workspace.rows("select kind, name, value from attachments order by position")
    ]
    assert [{"embedding_id": "e1", "name": "clip", "dimensions": 3, "vectors": 1}] == workspace.rows(
        "select embedding_id, name, dimensions, vectors from embeddings"
    )
    assert ['["pilot"]'] == [r["tags"] for r in workspace.rows("from projects")]
    assert [("model-1", "a model", "run-1", "first", "TEST")] == [
        tuple(r.values()) for r in workspace.rows("select model_id, model, run_id, run, split from model_runs")
    ]


def test_what_a_model_run_holds_is_stored_and_counted_and_is_nobodys_reading(parsed, rich_row):
    workspace = parsed(rich_row)

    assert {"label": (2, 2, 0), "prediction": (2, 2, 0), "answer": (8, 8, 0), "object": (5, 5, 0)} == {
        noun: conserved(workspace)[noun] for noun in ("label", "prediction", "answer", "object")
    }
    assert {"label": 1, "run_label": 1, "prediction": 2} == Counter(r["kind"] for r in workspace.rows("from labels"))
    assert [("nevus", "single_reading")] == [(r["class_name"], r["resolved_by"]) for r in workspace.rows("from truth")]


@pytest.mark.soak
def test_new_keys_are_counted_where_they_stand(parsed, rich_row, workspace):
    rich_row["data_row"]["details"]["mood"] = "blue"
    parsed(rich_row, row("i2", label("L2", "nevus")) | {"mood": 1}, row("i3") | {"mood": 1})
    counted = {"data_row.details.mood": 1, "mood": 2, "experiments.*.runs.*.predictions.new": 1}

    assert counted == {r["key_path"]: r["rows"] for r in workspace.rows("from unknown_keys")}
    assert counted == status(workspace).unknown_keys
    assert set(counted) == set(workspace.ask("unknown_keys")["key_path"].to_pylist())


def test_no_signature_and_no_identifier_reaches_the_registry(parsed, rich_row):
    rich_row["data_row"]["external_id"] = "https://x.org/photo.jpg?Signature=SECRET"
    rich_row["projects"]["project-1"]["labels"][0]["annotations"]["classifications"].append(
        {"name": "note", "text_answer": {"content": "Jane Doe 1970 came again"}}
    )
    content = parsed(rich_row).registry.read_bytes()

    for secret in (b"SECRET", b"Jane", b"jane@"):
        assert secret not in content, secret


def test_a_new_signature_is_no_new_revision(parsed, rich_row):
    parsed(rich_row)
    mask = rich_row["projects"]["project-1"]["labels"][0]["annotations"]["objects"][0]["mask"]
    mask["url"] = mask["url"].replace("SECRET", "OTHER")
    workspace = parsed(rich_row, name="later.ndjson")

    assert [1] == [r["revision"] for r in workspace.rows("select revision from labels where kind = 'label'")]


def test_what_no_table_can_hold_is_quarantined(parsed):
    twice, wide, early = (row(f"i{n}", label(f"L{n}", "nevus"), patient=f"P-{n}") for n in (1, 2, 3))
    twice["projects"]["project-1"]["labels"].append(label("L1", "melasma"))
    wide["media_attributes"].update(width=10**12)
    early["data_row"]["details"].update(updated_at="0001-01-01T00:00:00+14:00")
    workspace = parsed(twice, wide, early, row("i4", label("L4", "nevus"), patient="P-4"))

    assert (4, 1, 3) == conserved(workspace)["row"]
    assert ["i4"] == [r["image_id"] for r in workspace.rows("select image_id from images")]


@pytest.mark.parametrize(("depth", "answers"), [(60, 61), (2_000, None)])
def test_nested_questions_are_kept_as_deep_as_they_can_be_read(study, key, depth, answers):
    asked = json.dumps(radio("nevus")).removesuffix("]}}")
    inner = asked * depth + "]}}" * depth
    text = json.dumps(row("i1", label("L1", "nevus"))).replace(
        '"classifications": []', f'"classifications": [{inner}]', 1
    )
    taken = RowReader(study, key).read(RawRow(1, 1, 0, text.encode()))

    assert (None if answers else "json_depth") == taken.reason
    assert answers in (None, len(taken.records.get("answers", ())))


def test_a_label_on_two_photographs_is_on_none(parsed):
    workspace = parsed(
        row("i1", label("L1", "nevus")), row("i2", label("L1", "nevus")), row("i3", label("L3", "nevus"))
    )

    assert ["duplicate_label_id"] * 2 == reasons(workspace)
    assert (3, 1, 2) == conserved(workspace)["label"]


FLIPPED = ndjson(
    [row(f"i{n}", label(f"L{n}", "nevus", boxes=[box(f"o{n}", 9, 9, 50, 50)]), patient=f"P-{n}") for n in range(60)]
)


def test_a_flipped_byte_costs_its_row_at_most(tmp_path, study, key):
    good = set(FLIPPED.splitlines())
    for seed in range(400):  # `make soak` goes through ten thousand
        found = read(written(tmp_path, exports.flipped(FLIPPED, seed)))
        others = [RowReader(study, key).read(line).reason for line in found if line.content not in good]

        assert 60 - 2 <= len(found) - sum(reason is not None for reason in others), seed


@pytest.mark.soak
def test_exports_with_flipped_bytes_are_parsed_and_conserved(workspace, tmp_path, study, key):
    paths = [written(tmp_path, exports.flipped(FLIPPED, seed), f"{seed}.ndjson") for seed in range(30)]
    parse(workspace, study, key, paths)
    stored = workspace.rows("select stored from conservation where noun = 'row'")

    assert 30 == len(stored)
    assert 58 <= min(r["stored"] for r in stored)
    assert all(r["lost"] == 0 for r in workspace.shipped_rows("conservation"))


def hostile_photographs(shared, folder):
    """Copy the hostile photographs, and make those that no archive can carry."""
    shutil.copytree(shared / "hostile" / "images", folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "30_symlink.jpg").symlink_to("/etc/hostname")
    (folder / "31_directory.jpg").mkdir()
    os.mkfifo(folder / "32_fifo.jpg")
    shutil.copy(folder / "01_ok.jpg", folder / "33_noperm.jpg")
    (folder / "33_noperm.jpg").chmod(0)
    with (shared / "hostile" / "MANIFEST.csv").open(newline="") as file:
        listed = {Path(r["name"]).name: r for r in csv.DictReader(file) if r["kind"] == "images"}
    if os.geteuid() == 0:
        del listed["33_noperm.jpg"]  # nothing is forbidden to root
    return listed


def test_hostile_photographs_are_told_as_their_manifest_says(workspace, study, key, tmp_path, shared):
    listed = hostile_photographs(shared, tmp_path / "images")
    parse(workspace, study, key, [shared / "hostile" / "images_export.ndjson"], images=tmp_path / "images")
    found = workspace.rows(
        "select external_id, level, reason from images left join ingest_issues using (image_id) order by all"
    )
    assert 31 <= len(listed)
    for name, expected in listed.items():
        told = {(r["level"], r["reason"]) for r in found if r["external_id"] == name}
        wanted = set(expected["reason"].split("|")) - {""}
        level = "case" if expected["expected"] == "quarantine" else "warning"

        assert not wanted or {(level, reason) for reason in wanted} & told, (name, told)
        assert expected["expected"] == "quarantine" or "case" not in {level for level, _ in told}, (name, told)


@pytest.mark.parametrize("name", ["v2_SYNTHETIC_derm_200.ndjson", "v2_zealotsniper_bbox_1235rows.ndjson"])
def test_a_row_of_known_keys_is_read_alike_whether_it_is_looked_at_closely_or_not(shared, study, key, name):
    reader, plain = RowReader(study, key), 0
    for number, content in enumerate((shared / "labelbox_exports" / name).read_bytes().splitlines(), start=1):
        taken = reader.read(line := RawRow(number, number, 0, content))
        closely = ReadRow(line, Counts())
        with suppress(Quarantine, msgspec.ValidationError):
            reader.look_closely(closely)
        if taken.reason is None and "unknown_keys" not in taken.records:
            plain += 1

            assert [] == closely.records.pop("unknown_keys")
            for records in (taken.records, closely.records):
                records.pop("patient_keys", None)  # once for each patient
            assert closely.counts == taken.counts
            assert closely.content_sha256 == taken.content_sha256
            assert closely.records == taken.records

    assert 150 < plain


def with_new_key(row):
    row.update(new=1)


def without_global_key(row):
    row["data_row"]["global_key"] = None


def in_other_order(row):
    own = one_label(row)["annotations"]
    own["objects"] = own.pop("objects")


def with_new_key_in_the_label(row):
    one_label(row)["annotations"]["new"] = 1


def with_other_slug(row):
    one_label(row)["annotations"]["classifications"][0]["value"] = "other"


def one_label(row):
    return next(iter(row["projects"].values()))["labels"][0]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (with_new_key, True),
        (without_global_key, True),
        (in_other_order, True),
        (with_new_key_in_the_label, False),
        (with_other_slug, False),
    ],
)
def test_a_labels_digest_knows_all_that_the_label_says_and_nothing_else(study, key, change, same):
    one, other = (row("i1", label("L1", "nevus")) for _ in range(2))
    change(other)
    digests = [
        RowReader(study, key).read(RawRow(1, 1, 0, json.dumps(held).encode())).records["labels"][0].content_sha256
        for held in (one, other)
    ]

    assert same == (digests[0] == digests[1])
