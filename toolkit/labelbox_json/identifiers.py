"""The patient and the lesion that a row of an export names, in its metadata or in a file name."""

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from toolkit.labelbox_json import shapes
from toolkit.labelbox_json.similar_ids import nobody
from toolkit.manifest.base import fold
from toolkit.manifest.cohort import LabelboxSection
from toolkit.privacy import normalise

Plain = str | float


class Identified(NamedTuple):
    """The one patient a row names, normalised, or the fault; the lesion; what was written, as it was written."""

    patient: str | None
    fault: str | None
    lesion: str | None
    written: tuple[Plain, ...]


def identify(row: shapes.Row, labelbox: LabelboxSection) -> Identified:
    """Return the patient and the lesion of a row, from where the study says that they stand.

    Several patients are a fault and so is none; several lesions are no lesion. Where the study has no patients, the
    photograph takes their place.
    """
    groups = _matched_groups(row, labelbox) if labelbox.patient_pattern else {}
    metadata = plain(row, {fold(labelbox.lesion), fold(labelbox.patient)})
    lesions = {normalise(x) for x in (*metadata.get(fold(labelbox.lesion), ()), *groups.get("lesion", ()))}
    lesions = {lesion for lesion in lesions if nobody(lesion) is None}
    lesion = min(lesions) if len(lesions) == 1 else None
    if labelbox.patient_from == "none":
        return Identified(row.data_row.id, None, lesion, ())
    written = (*groups.get("patient", ()), *metadata.get(fold(labelbox.patient), ()))
    patients = {normalise(value) for value in written} - {""}
    named = {value: nobody(value) for value in patients}
    patients = {value for value, word in named.items() if word is None}
    if labelbox.patient_from != "metadata" and not groups:
        return Identified(None, "missing_patient_id", None, written)
    if len(patients) != 1:
        words = "".join(f":{word}" for word in sorted(filter(None, named.values()))[:1])
        return Identified(None, "ambiguous_patient_id" if patients else f"missing_patient_id{words}", None, written)
    return Identified(min(patients), None, lesion, written)


def plain(row: shapes.Row, names: set[str]) -> dict[str, list[Plain]]:
    """Return the plain values of some metadata fields, by their folded names."""
    values: dict[str, list[Plain]] = {}
    for field in row.metadata_fields or ():
        name, value = fold(field.schema_name), field.value
        if name in names and isinstance(value, str | int | float) and not isinstance(value, bool):
            values.setdefault(name, []).append(value)
    return values


def _matched_groups(row: shapes.Row, labelbox: LabelboxSection) -> dict[str, tuple[str, ...]]:
    """Return the texts that the pattern's groups match; nothing where it matches no patient."""
    text = row.data_row.external_id if labelbox.patient_from == "external_id" else row.data_row.global_key
    options = pc.ExtractRegexOptions(labelbox.patient_pattern)
    groups = pc.call_function("extract_regex", [pa.scalar(text, pa.string())], options).as_py()
    if not groups or not normalise(groups["patient"]):
        return {}
    return {name: (value,) for name, value in groups.items()}
