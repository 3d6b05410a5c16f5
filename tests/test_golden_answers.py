"""Every named question's columns, and on the sample the answers that rest on labels alone, as they are kept in golden/.

After a wanted change: `GOLDEN=write pytest tests/test_golden_answers.py`, and read the diff.
"""

import json
import os
from pathlib import Path

import pytest

from toolkit.workspace import sql
from toolkit.workspace.answer_values import csv_texts

FILE = Path(__file__).parent / "golden" / "questions.json"
QUESTIONS = {
    name: each for name, each in sql.questions().items() if all(p.default is not None for p in each.parameters)
}
OF_LABELS = (
    *(
        "annotators",
        "progress",
        "unresolved",
        "metadata",
        "exports",
        "conservation",
        "quarantine",
        "unknown_keys",
        "parts",
    ),
    *("changes", "truth_as_of", "similar_patients", "leakage", "departures", "label_versions"),
)
"""What is trained, or computed from pixels, may differ in its last digits from machine to machine."""
FIRST = 4


@pytest.fixture(scope="module")
def answers(finished) -> dict:
    """What each question answers: its columns; of those that rest on labels the number of rows, and the first ones."""
    found = {}
    with finished.workspace.reading():
        for name, question in sorted(QUESTIONS.items()):
            rows = finished.workspace.read(question.text, sql.bind(question, {}))
            found[name] = {"columns": rows.column_names}
            if name in OF_LABELS:
                first = [list(row) for records in csv_texts(rows.slice(0, FIRST)) for row in records]
                found[name] |= {"rows": rows.num_rows, "first": first}
    return found


def test_the_answers_are_those_that_were_read_and_kept(answers):
    if os.environ.get("GOLDEN") == "write":
        FILE.write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    kept = json.loads(FILE.read_text(encoding="utf-8"))

    assert sorted(kept) == sorted(answers)
    for name, answer in answers.items():
        assert kept[name] == answer, name
