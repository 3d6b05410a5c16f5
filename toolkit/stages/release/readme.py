"""README.md of a release, which says how to load and check it, and LICENSE.txt."""

from pathlib import Path

from toolkit.errors import DamagedError, StudyError
from toolkit.files import read_bytes
from toolkit.manifest import NO_PATIENTS, Study
from toolkit.manifest.release import ReleaseSection
from toolkit.stages.release.tables import OF_READINGS, OWN

WITH_PATIENTS = "that no patient is in two"
WITHOUT_PATIENTS = f"of it; {NO_PATIENTS}"
MOST_LICENCE = 1024**2
README = """\
# {title}, version {version}
{notice}
De-identified clinical photographs of skin lesions with their labels. Licence: {licence} (LICENSE.txt). What is in
it, how the labels came about and what was removed stands in [datasheet.md](datasheet.md).

| file | what it is |
| --- | --- |
| `labels.csv`, `labels.parquet` | a row for each case: one lesion on one photograph |
| `readings.csv`, `readings.parquet` | a row for each reading: what one annotator said of a case |
| `images/` | the photographs, JPEG |
| `split/` | which case is in which subset, with a certificate {certified} |
| `datasheet.md` | the data sheet; each table with the SQL that gives it |
| `manifest.json`, `SHA256SUMS` | what the data set is, and the SHA-256 of every file |

## Load it

With this folder as current directory; pandas:

```python
import pandas as pd

labels = pd.read_parquet("labels.parquet")
readings = pd.read_parquet("readings.parquet")
train = labels[labels["part"] == "train"]
```

DuckDB:

```sql
select part, reference_diagnosis, count(*) as cases
from 'labels.parquet'
group by all
order by all;
```

Hugging Face datasets:

```py
from datasets import Dataset, Image

photographs = Dataset.from_parquet("labels.parquet").cast_column("file_name", Image())
```

## Check it

```sh
sha256sum --check SHA256SUMS
(cd split && duckdb < verify.sql)
toolkit verify split --images images
```

The second line answers PASS where that holds; it needs nothing but DuckDB. The third, with
lesion-toolkit, also holds the certificate against the photographs.

## Columns of labels

{labels}

## Columns of readings

{readings}
"""


def readme(study: Study, section: ReleaseSection, columns: dict[str, str], kinds: dict[str, str]) -> str:
    """Return the text of README.md; `columns` and `kinds` are those of metadata fields."""
    fields = {
        columns[name]: f"{_spoken(kind)}; empty where it is not known or was left out" for name, kind in kinds.items()
    }
    return README.format(
        title=study.study.title,
        version=section.version,
        notice=f"\n> {study.study.notice}\n" if study.study.notice else "",
        licence=section.licence,
        certified=WITHOUT_PATIENTS if study.labelbox.patient_from == "none" else WITH_PATIENTS,
        labels=_columns({name: meaning for name, (_, meaning) in OWN.items()} | fields),
        readings=_columns({name: meaning for name, (_, meaning) in OF_READINGS.items()}),
    )


def _spoken(kind: str) -> str:
    return {
        "age": "age in years, the beginning of a band, 90 and more as 90",
        "date": "a date, moved by the same days as all dates of the patient",
        "boolean": "true or false",
    }.get(kind, f"a {kind}")


def _columns(meanings: dict[str, str]) -> str:
    rows = (f"| `{name}` | {meaning} |" for name, meaning in meanings.items())
    return "\n".join(["| column | what it is |", "| --- | --- |", *rows])


def licence_text(study: Study, section: ReleaseSection, study_folder: Path) -> str:
    """Return the text of LICENSE.txt; raise StudyError where the study's file cannot be read."""
    head = f"{study.study.title}, version {section.version}\nLicence: {section.licence}\n"
    if section.attribution:
        head += f"Cite as: {section.attribution}\n"
    if section.licence_file is None:
        return head
    path = study_folder / section.licence_file
    try:
        return f"{head}\n{read_bytes(path, most=MOST_LICENCE).decode()}"
    except (DamagedError, UnicodeDecodeError) as error:
        problem = error.problem if isinstance(error, DamagedError) else "it is not UTF-8 text"
        raise StudyError(f"the licence's text cannot be read: {problem}", place=str(path), remedy=REMEDY) from None


REMEDY = "name the file in [release] licence_file, relative to the study file, or leave the key out"
