"""One byte flipped in a file of each kind of a finished workspace; tests/soak/test_flipped_bytes.py does every file."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from flips import KINDS, Flips

SLOW = ("runs/*/checkpoint/",)
"""Kinds that need a prediction for each flip."""
ELSEWHERE = ("withdrawn.json", "exports/, issues of a pull", "features/", "photographs/index.jsonl", "photographs/")
"""Kinds that this workspace has no file of."""


@pytest.mark.soak_after(6)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.name not in (*SLOW, *ELSEWHERE)], ids=lambda k: k.name)
def test_a_flipped_byte_is_noticed_and_named_or_without_effect(copied, finished, kind):
    flips = Flips(copied, finished.study_file)
    path = flips.files(kind)[0]

    assert [] == flips.flip(kind, path, times=2)


def test_every_file_of_a_workspace_is_of_a_kind(copied, finished):
    flips = Flips(copied, finished.study_file)
    known = {path for kind in KINDS for path in flips.files(kind)}

    assert set() == {path for path in copied.folder.rglob("*") if path.is_file()} - known
