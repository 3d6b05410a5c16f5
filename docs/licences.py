"""The licence of every package that is installed with the toolkit, from the packages' own metadata.

`docs/generate.py` writes the table into docs/security.md; it ends where a package has no licence that is known here.
"""

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
LOCKS = ("core.lock", "model.lock", "torch.txt")
PYTHON = "PSF-2.0"
KNOWN = {
    **dict.fromkeys(("Apache", "Apache 2.0", "Apache 2.0 License", "Apache Software License"), "Apache-2.0"),
    **dict.fromkeys(("BSD", "BSD License"), "BSD"),
    "3-Clause BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": PYTHON,
}
"""Names of licences as packages write them, and their SPDX names; "BSD" where a package does not say which."""
ALLOWED = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0"),
    *("CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", PYTHON, "Zlib"),
    *("MPL-2.0", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
}
ELSEWHERE = {"colorama": "BSD", "httpx2-jsfetch": "BSD-3-Clause", "tzdata": "Apache-2.0"}
"""Packages of other systems (Windows, browsers), read from their metadata by hand: not installed where this runs."""


class Package(NamedTuple):
    """A line of a lock."""

    name: str
    version: str
    locks: str


def packages() -> list[Package]:
    """Return every package of the locks of core and model with the files that name it."""
    found: dict[tuple[str, str], list[str]] = {}
    for lock in LOCKS:
        for line in re.findall(r"^[\w.-]+==[^\\#\n]+", (REQUIREMENTS / lock).read_text(encoding="utf-8"), re.MULTILINE):
            requirement = Requirement(line.strip())
            version = str(requirement.specifier).removeprefix("==")
            found.setdefault((canonicalize_name(requirement.name), version), []).append(lock.partition(".")[0])
    return [Package(*package, ", ".join(locks)) for package, locks in sorted(found.items())]


def stated(name: str) -> str:
    """Return what an installed package says of its licence, in SPDX names."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    meta = metadata.metadata(name)
    if expression := meta.get("License-Expression"):
        return expression
    classes = [line.rpartition(" :: ")[2] for line in meta.get_all("Classifier") or [] if line.startswith("License ::")]
    # Where there is neither, the field License holds a name, or in older packages the whole text.
    names = classes or (meta.get("License") or "").strip().splitlines()[:1]
    return " OR ".join(KNOWN.get(part, part) for part in names)


def fault(licence: str) -> str | None:
    """Return why a package of this licence may not be used, or None; one unknown part is enough."""
    parts = [KNOWN.get(part.strip("() "), part.strip("() ")) for part in re.split(r" AND | OR ", licence)]
    unknown = [part for part in parts if part not in ALLOWED]
    if not unknown:
        return None
    if any(re.search(r"(?<!L)GPL|(?<!Lesser )General Public|Affero", part) for part in unknown):
        return f"{licence}: GPL and AGPL would bind the whole toolkit"
    return f"no licence that is known here: {licence!r}; read it and add it to docs/licences.py"


def table() -> str:
    """Return the table of packages; exit where one is not installed or has a licence that is not allowed."""
    rows = []
    for name, version, locks in packages():
        try:
            licence = stated(name)
        except metadata.PackageNotFoundError:
            sys.exit(f"{name} of requirements/ is not installed: its licence cannot be read; run `make .venv/.model`")
        if problem := fault(licence):
            sys.exit(f"{name}: {problem}")
        rows.append(f"| {name} | {version} | {locks} | {licence} |")
    return "\n".join(
        ["| package | version | file in `requirements/` | licence |", "| --- | --- | --- | --- |", *rows, ""]
    )
