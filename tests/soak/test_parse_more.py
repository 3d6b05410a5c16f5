"""Every hostile export alone, the law of parsing on many drawn exports, and three exports in every order."""

import itertools

import pytest
import test_parse
from hypothesis import given, settings
from test_ledger import stages, written_otherwise  # noqa: F401 - stages is a fixture

from toolkit.errors import ExportError
from toolkit.stages.parse import parse
from toolkit.workspace.registry import Workspace


def test_hostile_exports_end_as_their_manifest_says(shared, study, key, tmp_path):
    for number, (path, expected) in enumerate(test_parse.hostile_exports(shared).items()):
        workspace = Workspace(tmp_path / str(number))
        if expected["expected"] == "reject_file":
            with pytest.raises(ExportError):
                parse(workspace, study, key, [path])
            continue
        named = test_parse.naming(study, [path]) if path.stem in test_parse.NAMED_BY_THEIR_PAYLOAD else study
        result = parse(workspace, named, key, [path])
        rows = (int(expected["rows_accepted"]), int(expected["rows_quarantined"]))

        assert rows == (result.rows - result.rows_quarantined, result.rows_quarantined), path.name
        reasons = {reason for _, reason in test_parse.issues(workspace)}
        assert not expected["reason"] or set(expected["reason"].split("|")) & reasons, path.name


@settings(max_examples=60, **test_parse.LAW)
@given(**test_parse.DRAWN)
def test_parse_never_loses_a_label_and_the_order_of_rows_does_not_matter(
    tmp_path_factory, study, key, rows, bad, random
):
    test_parse.hold_the_law(tmp_path_factory.mktemp("law"), study, key, rows, bad, random)


def test_the_same_content_has_the_same_hash_whatever_its_exports_are_like(stages, study, key, tmp_path):  # noqa: F811
    paths = [stage.export for stage in stages]
    states = set()
    for number, order in enumerate([*itertools.permutations(paths), written_otherwise(paths, tmp_path)]):
        result = parse(Workspace(tmp_path / f"workspace-{number}"), study, key, list(order))
        states.add((result.content_hash, result.truth_id))

    assert 1 == len(states)
