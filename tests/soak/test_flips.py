"""Ten thousand flipped bytes over every form of an export: each costs its row at most."""

import json

import exports
import pytest
from exports import box, label, row

from toolkit.labelbox_json.reader import raw_rows
from toolkit.labelbox_json.rows import RowReader

ROWS = [row(f"i{n}", label(f"L{n}", "nevus", boxes=[box(f"o{n}", 9, 9, 50, 50)]), patient=f"P-{n}") for n in range(60)]
FORMS = {
    "ndjson": "\n".join(map(json.dumps, ROWS)),
    "array": json.dumps(ROWS),
    "array, compact": json.dumps(ROWS, separators=(",", ":")),
    "array, indented": json.dumps(ROWS, indent=2),
    "documents": "\n".join(json.dumps(one, indent=1) for one in ROWS),
}


def read(path, data):
    path.write_bytes(data)
    return list(raw_rows(path, longest=2_000_000))


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_a_flipped_byte_costs_its_row_at_most(tmp_path, study, key, data):
    good = {line.content for line in read(tmp_path / "x", data.encode())}
    for seed in range(2_000):
        found = read(tmp_path / "x", exports.flipped(data.encode(), seed))
        stored = sum(x.content in good or RowReader(study, key).read(x).reason is None for x in found)

        assert 60 - 2 <= stored, seed
