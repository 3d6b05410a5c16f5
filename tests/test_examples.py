"""The examples in docstrings of what a notebook user calls."""

import doctest
from importlib import import_module

import pytest
from exports import label, row

EXAMPLES = {
    "toolkit": {"open"},
    "toolkit.notebook": {"OpenedWorkspace.ask", "OpenedWorkspace.sql", "OpenedWorkspace.table"},
    "toolkit.stats.agreement": {"cohen", "krippendorff"},
    "toolkit.stats.delong": {"difference"},
    "toolkit.stats.intervals": {"clustered_wilson", "patient_bootstrap"},
    "toolkit.stats.metrics": {"WeightedMetrics"},
    "toolkit.stats.stratified_split": {"count_groups", "stratified_group_split"},
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_a_notebook_user_calls_has_an_example_that_holds(name, parsed, workspace, monkeypatch):
    if name in ("toolkit", "toolkit.notebook"):
        parsed(*(row(f"i{n}", label(f"L{n}", ["nevus", "melasma", "nevus"][n]), patient=f"P-{n}") for n in range(3)))
        monkeypatch.chdir(workspace.folder.parent)
    module = import_module(name)
    with_examples = {test.name for test in doctest.DocTestFinder().find(module) if test.examples}

    assert {f"{name}.{each}" for each in EXAMPLES[name]} <= with_examples
    assert 0 == doctest.testmod(module).failed
