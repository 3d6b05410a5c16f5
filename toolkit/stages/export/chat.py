"""The published study's chat JSON of each subset of a split, with pictures that are named by case."""

import json
from dataclasses import asdict, replace

from toolkit.files import write_atomically
from toolkit.photographs.opening import file_name
from toolkit.prompts.chat_json import chat_entries
from toolkit.stages.export.imagefolder import NOT_IN_SPLIT
from toolkit.stages.export.written import Order, Written
from toolkit.workspace.exported_cases import read_cases
from toolkit.workspace.pictures import write_pictures
from toolkit.workspace.runs import find_split, resolved_cases

NO_DIAGNOSIS = "it has no reference diagnosis, which would be the answer"


def write_chat_folder(order: Order) -> Written:
    """Write SUBSET.json, as `toolkit prompts` does, with images/CASE_ID.jpg instead of the photographs' own paths."""
    split_id = find_split(order.workspace, order.split)
    cases = {case.case_id: case for case in read_cases(order.workspace, split_id)}
    paths, values = {}, 0
    for part in sorted({case.part for case in cases.values() if case.part}):
        resolved = resolved_cases(order.workspace, split_id, part)
        entries, without = chat_entries(order.workspace, order.study, resolved)
        values += without
        names = [f"images/{file_name(case.case_id)}.jpg" for case in resolved]
        paths |= {order.folder / name: cases[case.case_id] for name, case in zip(names, resolved, strict=True)}
        shown = [asdict(replace(entry, image=name)) for entry, name in zip(entries, names, strict=True)]
        text = json.dumps(shown, ensure_ascii=False, indent=1)
        write_atomically(order.folder / f"{part}.json", f"{text}\n".encode())
    faults = write_pictures(paths, progress=order.progress)
    written = {case.case_id for case in paths.values()}
    others = [case for case in cases.values() if case.case_id not in written]
    left_out = {case.case_id: NO_DIAGNOSIS if case.part else NOT_IN_SPLIT for case in others}
    facts = {
        "split_id": split_id,
        "values_left_out_of_prompts": values,
        "images_without_picture": {path.name: fault for path, fault in faults.items()},
    }
    return Written(len(written), len(paths) - len(faults), left_out, facts)
