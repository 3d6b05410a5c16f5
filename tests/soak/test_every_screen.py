"""axe-core with every rule on every page, unfolded, on each kind of screen: too long for `make test`."""

import pytest
from test_accessibility import OPEN_ALL, SCREENS, pages, violations

__all__ = ["pages"]


@pytest.mark.parametrize("screen", SCREENS)
def test_no_page_violates_a_rule_unfolded(chromium, pages, screen):
    context = chromium.new_context(offline=True, bypass_csp=True, **SCREENS[screen])
    tab = context.new_page()
    found = {}
    for page in pages:
        tab.goto(page.as_uri())
        tab.evaluate(OPEN_ALL)
        found[f"{page.parent.name}/{page.name}"] = violations(tab)
    context.close()

    assert not any(found.values()), found
