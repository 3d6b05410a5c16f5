"""Writes an export and a study from a table of reference diagnoses, for predictions of others."""

import json
from pathlib import Path

import exports
from exports import label, row

STUDY = """[study]
name = "others"
title = "Predictions of others"

[labelbox]
projects = ["pigmented-lesions"]
{labelbox}
{classes}
[split]
external = true

[prompt]
user = "What is it?"

[model]
name = "tiny"

[evaluate]
replicates = 100

[privacy]
published_key = "a key for tests"
"""


def study_file(
    path: Path, classes: dict[str, bool], *, aliases: dict[str, list[str]] | None = None, labelbox=""
) -> Path:
    """Write a study of these classes, each malignant or not, in which every case is in part external."""
    tables = [
        f'[[classes]]\nname = "{name}"\nanswer = "{name}"\nmalignant = {str(malignant).lower()}\n'
        f"aliases = {json.dumps((aliases or {}).get(name, []))}\n"
        for name, malignant in classes.items()
    ]
    path.write_text(STUDY.format(classes="\n".join(tables), labelbox=labelbox))
    return path


def export(path: Path, truth: dict[str, str], *, patients: dict[str, str] | None = None, known: bool = True) -> Path:
    """Write an export with a photograph for each name and its class; without `known`, it has no patients."""
    rows = [
        row(f"d{n:06}", label(f"L{n:06}", name), patient=(patients or {}).get(key, f"P-{n}") if known else None)
        for n, (key, name) in enumerate(truth.items())
    ]
    for line, key in zip(rows, truth, strict=True):
        line["data_row"] |= {"external_id": f"{key}.jpg", "global_key": f"key of {key}"}
    return exports.write(path, rows)
