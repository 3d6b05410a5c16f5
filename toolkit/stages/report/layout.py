"""The layout that all pages share: templates, style, script, and the policy that lets nothing else run."""

import base64
import hashlib
from functools import cache
from importlib.metadata import version
from typing import Any

from toolkit import formatting
from toolkit.manifest import shipped

FILTERS = (
    "proportion", "chance", "count", "counted", "spoken", "subset", "field_name", "clean", "metric_name", "model_name",
    "moment", "percent",
)  # fmt: skip
FUNCTIONS = ("interval", "support", "group_name", "group_value")
SIGNS = {"suppressed": formatting.SUPPRESSED, "few": formatting.FEW_PATIENTS}


def render(template: str, *, scripts: tuple[str, ...] = ("layout.js",), beside: bool = False, **values: Any) -> bytes:
    """Return a page; `scripts` become its one script, `beside` lets it show pictures from its own folder."""
    from markupsafe import Markup  # noqa: PLC0415 - needed only to render

    folder = shipped("reports/template")
    style = (folder / "style.css").read_text(encoding="utf-8")
    script = '"use strict";\n' + "".join((folder / name).read_text(encoding="utf-8") for name in scripts)
    text = (
        environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            policy=policy(style=style, script=script, beside=beside),
            generator=generator(),
            **values,
        )
    )
    return text.encode()


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
def environment() -> Any:
    """Return what renders the templates: every text escaped, nothing undefined let through."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - needed only to render

    templates = Environment(
        loader=FileSystemLoader(shipped("reports/template")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {name: getattr(formatting, name) for name in FILTERS}
    templates.globals.update({name: getattr(formatting, name) for name in FUNCTIONS}, signs=SIGNS)
    return templates
