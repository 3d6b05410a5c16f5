"""A Hugging Face imagefolder: a folder of pictures for each subset of a split, with metadata.jsonl beside them."""

import json
from typing import Any

from toolkit.files import write_atomically
from toolkit.photographs.opening import file_name
from toolkit.stages.export.written import Order, Written
from toolkit.workspace.exported_cases import ExportedCase, read_cases
from toolkit.workspace.pictures import write_pictures
from toolkit.workspace.runs import find_split

METADATA = "metadata.jsonl"
NOT_IN_SPLIT = "it is in no subset of the split"


def write_imagefolder(order: Order) -> Written:
    """Write SUBSET/CASE_ID.jpg for each case of the split, and what is known of it as a line of metadata.jsonl."""
    split_id = find_split(order.workspace, order.split)
    everything = read_cases(order.workspace, split_id)
    cases = [case for case in everything if case.part]
    paths = {case.case_id: order.folder / str(case.part) / f"{file_name(case.case_id)}.jpg" for case in cases}
    faults = write_pictures({paths[case.case_id]: case for case in cases}, progress=order.progress)
    left_out = {case.case_id: NOT_IN_SPLIT for case in everything if not case.part}
    left_out |= {case.case_id: faults[paths[case.case_id]] for case in cases if paths[case.case_id] in faults}
    shown = [case for case in cases if case.case_id not in left_out]
    names = sorted(
        {reading["class_name"] for case in shown for reading in case.readings}.union(order.study.class_names)
    )
    for part in sorted({str(case.part) for case in shown}):
        lines = [_line(case, names) for case in shown if case.part == part]
        write_atomically(order.folder / part / METADATA, "".join(lines).encode())
    return Written(len(shown), len(shown), left_out, {"split_id": split_id})


def _line(case: ExportedCase, class_names: list[str]) -> str:
    """Return a line of metadata.jsonl.

    `datasets` guesses types from the first lines of each subset and refuses subsets that differ: so every line has the
    same keys, no value is null, and metadata are pairs of texts.
    """
    votes = [reading["class_name"] for reading in case.readings if reading["counts"]]
    document: dict[str, Any] = {
        "file_name": f"{file_name(case.case_id)}.jpg",
        "label": case.class_name or "",
        **{key: value or "" for key, value in case.facts.items()},
        "roi": case.box,
        "whole_photograph": case.roi is None,
        "votes": {name: votes.count(name) for name in class_names},
        "readings": [{key: "" if value is None else value for key, value in each.items()} for each in case.readings],
        "metadata": [{"name": name, "value": value} for name, value in case.metadata.items()],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"
