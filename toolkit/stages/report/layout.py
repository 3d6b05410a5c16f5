"""The layout that all pages share: templates, style, script, and the policy that lets nothing else run."""

import base64
import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from toolkit import formatting
from toolkit.shipped import shipped

FILTERS = (
    "proportion", "chance", "count", "counted", "spoken", "subset", "field_name", "clean", "metric_name", "model_name",
    "moment", "percent", "short_number", "in_units", "signed", "reached", "estimate_note",
    "few_note",
)  # fmt: skip
FUNCTIONS = ("interval", "support", "group_name", "group_value")
GALLERY = ("layout.js", "enlarge.js", "gallery.js")
"""The scripts of a page with single cases."""
CHECK_GROUPS = {
    "look": "Stands against use until looked at",
    "fact": "Cannot be told, or is good to know",
    "good": "Holds",
}
"""Checks by their shape, in the order in which they are shown."""
SIGNS = {"suppressed": formatting.SUPPRESSED, "few": formatting.FEW_PATIENTS}


def render(template: str, *, scripts: tuple[str, ...] = ("layout.js",), beside: bool = False, **values: Any) -> bytes:
    """Return a page; `scripts` become its one script, `beside` lets it show pictures from its own folder."""
    folder = shipped("reports/template")
    style = (folder / "style.css").read_text(encoding="utf-8")
    script = '"use strict";\n' + "".join((folder / name).read_text(encoding="utf-8") for name in scripts)
    page = page_environment(formatting.unit()).get_template(template)
    own = policy(style=style, script=script, beside=beside)
    return page.render(style=style, script=script, policy=own, generator=generator(), **values).encode()


def policy(*, style: str, script: str, beside: bool) -> str:
    """Return the content security policy: one style, one script, pictures in the page or, if need be, beside it."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for name, text in (("style", style), ("script", script))
    }
    own = "'self' " if beside else ""
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        f"img-src {own}data:; base-uri 'none'; form-action 'none'"
    )


def generator() -> str:
    """Name what made the page: the version, and a digest of the template, by which an old page can be told."""
    digest = hashlib.sha256()
    for path in sorted(shipped("reports/template").iterdir()):
        digest.update(path.read_bytes())
    return f"lesion-toolkit {version('lesion-toolkit')}, template {digest.hexdigest()[:8]}"


@cache
def page_environment(unit: str = formatting.PATIENT) -> Any:
    """Return what renders pages: every text is escaped, and nothing undefined gets through.

    `unit` is what counts as a patient, and how the templates' own words call it.
    """
    from jinja2 import StrictUndefined  # noqa: PLC0415 - needed only to render

    return _environment(unit, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def text_environment(unit: str = formatting.PATIENT) -> Any:
    """Return what renders plain text, which pages escape later: what is undefined was not recorded; see above."""
    from jinja2 import ChainableUndefined  # noqa: PLC0415 - needed only to render

    class NotRecorded(ChainableUndefined):
        def __str__(self) -> str:
            return formatting.UNDEFINED

    return _environment(unit, undefined=NotRecorded)


def _environment(unit: str, **settings: Any) -> Any:
    from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415 - needed only to render

    if unit != formatting.PATIENT:
        settings["extensions"] = [_units()]
    templates: Any = Environment(loader=FileSystemLoader(shipped("reports/template")), **settings)  # noqa: S701 - pages set autoescape
    templates.filters |= {name: getattr(formatting, name) for name in FILTERS}
    templates.globals |= {name: getattr(formatting, name) for name in FUNCTIONS} | {
        "signs": SIGNS,
        "check_groups": CHECK_GROUPS,
    }
    return templates


def _units() -> Any:
    """Return the extension that puts the word for what counts as a patient into the templates' own words.

    Values of the study never pass here, and neither do names of columns: those have no spaces.
    """
    from jinja2.ext import Extension  # noqa: PLC0415 - needed only to render
    from jinja2.lexer import Token  # noqa: PLC0415 - needed only to render

    class Units(Extension):
        def filter_stream(self, stream: Any) -> Any:
            with formatting.counted_by(patients_known=False):
                for token in stream:
                    words = token.type == "data" or (token.type == "string" and " " in token.value)
                    yield Token(token.lineno, token.type, formatting.in_units(token.value)) if words else token

    return Units
