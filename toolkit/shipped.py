"""Where the folders stand that ship with the package: SQL, templates of the reports, study files."""

from pathlib import Path
from typing import Literal

SHIPPED = {"sql": "sql_files", "reports/template": "report_files", "manifests": "manifest_files", "docs": "docs_files"}
"""Folders beside the package in a checkout, by their name there, and their name inside the package of a wheel."""


def shipped(folder: Literal["sql", "reports/template", "manifests", "docs"]) -> Path:
    """Return where a shipped folder stands: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / SHIPPED[folder]
    return inside if inside.is_dir() else package.parent / folder
