"""One row of an export, decoded into records for the staging tables or quarantined with a reason."""

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from toolkit.labelbox_json import control_characters, counting, history, keys, legacy, media, shapes, staging_tables
from toolkit.labelbox_json.contents import Tables, encode
from toolkit.labelbox_json.reader import RawRow
from toolkit.labelbox_json.records import Records, fuller, sha256
from toolkit.manifest import Study
from toolkit.privacy import PseudonymKey, scrub

WHERE = re.compile(r" - at `\$?(?P<path>[^`]*)`$")

NONFINITE = re.compile(rb"[:\[,]\s*-?(?:NaN|Infinity)")
PARTS = {
    "bounding_box": "bbox",
    "radio_answer": "radio_answer",
    "checklist_answers": "checklist_answers",
    "text_answer": "text_answer",
}
RELATED = b'"unidirectional_relationship"'
"""Rows with relationships are counted in full: some stand twice, and what hangs on them is not read."""
MOST_PATHS = 5
LARGEST_SIDE = 1_000_000
"""Pixels of a photograph's side; what is larger is a slip, and no number for a table."""
KINDS = {
    "ImageBoundingBox",
    "ImagePolygon",
    "ImagePolyline",
    "ImagePoint",
    "ImageSegmentationMask",
    "ImageUnidirectionalRelationship",
}

decode = msgspec.json.Decoder(shapes.Row).decode


@dataclass
class ReadRow:
    """What one row holds: its counts and, unless `reason` says why not, its records by table.

    A legacy entry is a `part` of its photograph's row, and `facts_sha256` says what it knows of the photograph.
    """

    line: RawRow
    counts: counting.Counts
    reason: str | None = None
    detail: str | None = None
    image_id: str | None = None
    content_sha256: str | None = None
    latest_at: datetime | None = None
    part: str | None = None
    facts_sha256: str | None = None
    records: Tables = field(default_factory=dict)

    def staged(self) -> staging_tables.Line:
        """Return the record of the row itself."""
        return staging_tables.Line(
            self.line.number,
            self.line.offset,
            self.reason,
            self.detail and scrub(self.detail),
            self.image_id,
            self.part,
            self.facts_sha256,
            self.content_sha256,
            self.latest_at,
            *msgspec.structs.astuple(self.counts),
        )


class Quarantine(Exception):  # noqa: N818 - a decision about a row, not a failure
    """Raised for a row that is not stored: reason code and detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class RowReader:
    """Reads rows for one study; a fault anywhere in a row quarantines the whole row."""

    def __init__(self, study: Study, key: PseudonymKey) -> None:
        self.longest, self.records = study.ingest.longest_row, Records(study, key)

    def read(self, line: RawRow) -> ReadRow:
        """Decode one row strictly."""
        result = ReadRow(line, counting.Counts())
        try:
            if (plain := _plain(line.content)) is not None:
                row, written = plain
                result.counts, result.content_sha256 = counting.count_decoded(row), sha256(written)
                self.fill(result, row, None)
            else:
                self.look_closely(result)
        except Quarantine as fault:
            result.reason, result.detail = fault.reason, fault.detail
        except msgspec.ValidationError as error:
            result.reason, result.detail = _reason(str(error))
        except RecursionError:
            result.reason, result.detail = "json_depth", "nested too deeply"
        except OverflowError:
            result.reason, result.detail = "value_range", "a number or a time that no table can hold"
        return result

    def fill(self, result: ReadRow, row: shapes.Row, raw: dict | None, **drawn: bool) -> None:
        """Fill in what a decoded row holds; raise at the first fault."""
        _check(row)
        result.image_id = row.data_row.id
        result.records, result.latest_at = self.records.of(row, raw, **drawn)

    def look_closely(self, result: ReadRow) -> None:
        """Read a row whose keys are not all known and unique: find what is wrong with it, or which keys are new."""
        raw = _decoded(result.line, self.longest)
        is_entry = legacy.is_entry(raw)
        result.counts = legacy.count(raw) if is_entry else counting.count(raw)
        written = encode(raw)
        names = keys.names_of(written)
        if repeated := keys.repeated(result.line.content or b"", len(names)):
            raise Quarantine("json_duplicate_key", f"an object has the key {scrub(repeated)[:120]!r} twice")
        if isinstance(raw, dict) and "data_row" not in raw and isinstance(raw.get("dataRow"), dict):
            raise Quarantine("format_import", "an annotation to be imported into Labelbox, no row of an export")
        _refuse_by_content(raw, written)
        unknown = keys.unknown(raw, names) if isinstance(raw, dict) else set()
        entry, from_below = raw, is_entry and legacy.is_oldest(raw)
        if is_entry:
            result.part, raw = str(raw.get("ID")), legacy.as_row(raw)
            result.facts_sha256 = legacy.facts_digest(raw)
        row, raw = _converted(raw)
        result.content_sha256 = sha256(written if is_entry else fuller(encode(row), written))
        new_answers = any(".classifications." in path for path in unknown)
        self.fill(result, row, raw, from_below=from_below, new_answers=new_answers)
        if is_entry:
            result.records["reviews"] = history.reviews_of_entry(entry, row.data_row.id, self.records.person)
            result.records["workflow"] = history.open_issues_of_entry(entry, row)
        result.records["unknown_keys"] = [staging_tables.UnknownKey(path) for path in sorted(unknown)]
        if more := result.counts.beyond(counting.count_decoded(row)):
            where = f": {', '.join(sorted(unknown)[:MOST_PATHS])}" if unknown else ""
            what = ", ".join(f"{times} {noun}" for noun, times in more.items())
            detail = f"{what} where nothing is read{where}"
            result.records["unread"] = [staging_tables.Unread(noun, times, detail) for noun, times in more.items()]


def _plain(content: bytes | None) -> tuple[shapes.Row, bytes] | None:
    """Decode a row of known keys only, each once and with a value, and write it again; None for any other.

    Such a row, written again, has as many keys as it came with. A text may hold what looks like a key; only where it
    is escaped does it count less before decoding than after.
    """
    if content is None or RELATED in content or control_characters.may_hold_one(content):
        return None
    try:
        row = decode(content)
        written = encode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
        return None
    return (row, written) if keys.total_of(content) == written.count(b'":') else None


def _decoded(line: RawRow, longest: int) -> Any:
    if line.content is None:
        raise Quarantine("line_too_long", f"longer than ingest.longest_row = {longest} bytes")
    try:
        return msgspec.json.decode(line.content)
    except UnicodeDecodeError as error:
        raise Quarantine("encoding", f"not UTF-8 at byte {error.start}") from None
    except msgspec.DecodeError as error:
        raise Quarantine(_syntax_reason(str(error), line.content), str(error)) from None


def _refuse_by_content(raw: Any, written: bytes) -> None:
    """Refuse a row with a control character, and one that is no photograph's."""
    if control_characters.may_hold_one(written) and (found := control_characters.find(raw)):
        raise Quarantine("control_char", f"{scrub(found.path)[:120]} holds U+{ord(found.character):04X}")
    if isinstance(raw, dict) and (medium := media.other_medium_of(raw)):
        raise _other_medium(medium)


def _other_medium(medium: str) -> Quarantine:
    return Quarantine(f"unsupported_media:{medium}", f"its data is {medium}, and photographs are read")


def _converted(raw: Any) -> tuple[shapes.Row, Any]:
    """Return a row's types and the row; where they do not fit, without its nulls: null for an object is no object."""
    try:
        return msgspec.convert(raw, shapes.Row), raw
    except msgspec.ValidationError:
        bare = _without_nulls(raw)
        with suppress(msgspec.ValidationError):
            return msgspec.convert(bare, shapes.Row), bare
        raise


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value if inner is not None]
    return value


def _syntax_reason(message: str, content: bytes) -> str:
    if "utf-8" in message.lower() or "surrogate" in message.lower():
        return "encoding"
    if "out of range" in message:
        return "value_range"
    return "json_nonfinite" if NONFINITE.search(content) else "json_syntax"


def _reason(message: str) -> tuple[str, str]:
    """Return the reason code and detail of a msgspec message: what is wrong and the key path without indices."""
    where = WHERE.search(message)
    path = re.sub(r"\[[^\]]*\]", "", where["path"] if where else "").strip(".")
    what = WHERE.sub("", message)
    if part := next((short for key, short in PARTS.items() if f".{key}." in f".{path}."), None):
        return f"schema_type:{part}", what
    if missing := re.search(r"missing required field `(\w+)`", what):
        return f"schema_missing:{'.'.join(filter(None, (path, missing[1])))}", what
    if "RFC3339" in what or "datetime" in what:
        return f"value_range:{path.rsplit('.', 1)[-1]}", what
    return f"schema_type:{path or 'row'}", what


def _check(row: shapes.Row) -> None:
    """Refuse what types cannot: other media, unsafe names, sizes and boxes that cannot be."""
    own, size = row.data_row, row.media_attributes
    if medium := media.other_medium(size.asset_type, size.mime_type):
        raise _other_medium(medium)
    for name, value in (("id", own.id), ("global_key", own.global_key), ("external_id", own.external_id)):
        if value is not None:
            _check_name(name, value)
    for side in (size.height, size.width):
        if side is not None and not 0 < side <= LARGEST_SIDE:
            raise Quarantine("value_range:media_attributes", f"{size.width} x {size.height} pixels")
    labels = [label for project in row.projects.values() for label in project.labels or ()]
    if len({label.id for label in labels}) < len(labels):
        raise Quarantine("duplicate_label_id", "two labels of the photograph share one ID")
    for _, _, run in row.runs() if row.experiments else ():
        labels += (*(run.labels or ()), *(run.predictions or ()))
    for label in labels:
        for thing in label.annotations.objects or ():
            _check_object(thing)


def _check_name(name: str, value: str) -> None:
    if value.startswith("/") or (".." in value and ".." in value.replace("\\", "/").split("/")):
        raise Quarantine("unsafe_path", f"data_row.{name} points outside the photographs' folder")


def _check_object(thing: shapes.Object) -> None:
    if thing.annotation_kind is not None and thing.annotation_kind not in KINDS:
        raise Quarantine("unsupported_annotation_kind", f"{scrub(thing.annotation_kind)[:120]!r}")
    box = thing.bounding_box
    finite = box is None or all(map(math.isfinite, msgspec.structs.astuple(box)))
    if box is not None and not (box.width > 0 and box.height > 0 and finite):
        raise Quarantine("value_range:bbox", f"a box of {box.width} x {box.height} pixels")
