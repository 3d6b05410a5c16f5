"""axe-core, in a real browser, on every page that the toolkit writes: no violation, wide, narrow and dark.

All rules on a wide screen; contrast again in the dark, all other rules again on a narrow one. What is folded, and every
rule on every screen, is asked for by tests/soak/test_every_screen.py.
"""

import shutil
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe

from toolkit.pipeline import compare_with_page, impact_with_page
from toolkit.stages.evaluate import evaluate
from toolkit.stages.predict import predict
from toolkit.stages.report import report
from toolkit.workspace.registry import Workspace

SCREENS = {
    "wide": {"viewport": {"width": 1280, "height": 900}},
    "narrow": {"viewport": {"width": 390, "height": 844}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
}
RULES: dict[str, dict] = {
    "wide": {},
    "narrow": {"rules": {"color-contrast": {"enabled": False}}},
    "dark": {"runOnly": ["color-contrast"]},
}
OPEN_ALL = "for (const details of document.querySelectorAll('details:not([name])')) details.open = true"
ENLARGE = "document.querySelector('li.case:not([hidden]) button.enlarge')?.click()"


@pytest.fixture(scope="module")
def pages(finished, tmp_path_factory) -> list[Path]:
    """One page of each kind, of a copy of the finished sample."""
    workspace = Workspace(tmp_path_factory.mktemp("pages") / "workspace")
    shutil.copytree(finished.workspace.folder, workspace.folder)
    study = finished.study_file.study
    run_id = finished.results["Report"].run_id
    control = predict(workspace, study, run=run_id, control="blank").run_id
    evaluate(workspace, study, run=control)
    list(compare_with_page(workspace, finished.study_file, run_id, control))
    list(impact_with_page(workspace, study))
    report(workspace, study, run=run_id, audience="shared")
    return sorted(workspace.reports.rglob("*.html"))


def violations(tab, rules: dict | None = None) -> list[str]:
    only = {"resultTypes": ["violations"]}  # what passes is not described: half the time
    found = Axe().run(tab, options={**(rules or {}), **only}).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']][:3]}" for rule in found]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_violates_a_rule(chromium, pages, screen):
    assert {"audit", "queue", "reports"} < {page.parent.name for page in pages}
    context = chromium.new_context(offline=True, bypass_csp=True, **SCREENS[screen])
    tab = context.new_page()
    found = {}
    for page in [page for page in pages if page.name != "glossary.html" or page.parent.name == "audit"]:
        tab.goto(page.as_uri())
        found[f"{page.parent.name}/{page.name}"] = violations(tab, RULES[screen])
    context.close()

    assert not any(found.values()), found


@pytest.mark.soak
def test_nothing_that_is_enlarged_violates_a_rule(chromium, pages):
    context = chromium.new_context(offline=True, bypass_csp=True, **SCREENS["wide"])
    tab = context.new_page()
    found = {}
    for page in [page for page in pages if page.name == "index.html" and page.parent.name != "reports"]:
        tab.goto(page.as_uri())
        tab.evaluate(ENLARGE)
        found[page.parent.name] = violations(tab) if tab.locator("#enlarged[open]").count() else []
    context.close()

    assert not any(found.values()), found


def test_a_narrow_screen_scrolls_no_page_sideways_and_wide_tables_say_so(chromium, pages):
    tab = chromium.new_page(viewport=SCREENS["narrow"]["viewport"])
    for page in pages:
        tab.goto(page.as_uri())
        tab.evaluate(OPEN_ALL)
        tab.wait_for_timeout(50)
        cut = "[...document.querySelectorAll('.scroll')].filter((b) => b.scrollWidth > b.clientWidth + 1)"

        assert 390 == tab.evaluate("document.documentElement.scrollWidth"), page
        assert tab.evaluate(f"{cut}.every((box) => box.classList.contains('overflows'))"), page
    tab.close()


def test_every_text_of_a_chart_takes_the_colour_of_the_page(chromium, pages):
    """axe looks at no text within an SVG."""
    context = chromium.new_context(offline=True, **SCREENS["dark"])
    tab = context.new_page()
    texts = 0
    for page in pages:
        tab.goto(page.as_uri())
        ink = tab.evaluate("getComputedStyle(document.body).color")
        fills = tab.eval_on_selector_all("svg.figure text", "all => all.map((text) => getComputedStyle(text).fill)")
        texts += len(fills)

        assert {ink} >= set(fills), page
    context.close()

    assert texts > 100
