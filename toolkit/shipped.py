"""Where the folders stand that ship with the package: SQL, templates of the reports, study files."""

from pathlib import Path
from typing import Literal


def shipped(folder: Literal["sql", "reports/template", "manifests"]) -> Path:
    """Return where a shipped folder stands: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / {"sql": "sql_files", "reports/template": "report_files", "manifests": "manifest_files"}[folder]
    return inside if inside.is_dir() else package.parent / folder
