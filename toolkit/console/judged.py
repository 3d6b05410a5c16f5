"""What the verdicts on printed figures look like: a table for each set of cases, and its sources.

Refuses to judge.
"""

from rich.console import Group, RenderableType
from rich.text import Text

from toolkit.console.text import line, plain, table, told
from toolkit.stages.claims import FEASIBLE, NOT_REPRODUCIBLE, Claims, JointVerdict, Verdict

STYLE = {FEASIBLE: "green", NOT_REPRODUCIBLE: "red"}
GRANTED = "taken for granted: each case has one class, and was given one of the classes"


def judged(result: Claims) -> RenderableType:
    """Return what the verdicts on a file of claims look like."""
    shown: list[RenderableType] = []
    for part in dict.fromkeys(verdict.part for verdict in result.verdicts):
        assumed = f" (assumed: {result.assumed[part]})" if part in result.assumed else ""
        made = table("#", "source", "claim", "verdict")
        for verdict in result.verdicts:
            if verdict.part == part:
                made.add_row(str(verdict.number), line(verdict.source), line(verdict.claim), _alone(verdict))
        shown += [line(f"{part}{assumed}", "bold"), made]
        shown += [*(_together(one) for one in result.joint if one.part == part), Text()]
    counted = f"{len(result.contradicted)} of {len(result.verdicts)} claims {NOT_REPRODUCIBLE}"
    return Group(*shown, told("claims", counted, GRANTED))


def _alone(verdict: Verdict) -> Text:
    found = Text(verdict.verdict, STYLE.get(verdict.verdict, "yellow"))
    found.append(plain(f": {verdict.reason}" if verdict.reason else ""), "default")
    return found.append(plain(f"\n{verdict.flag}" if verdict.flag else ""), "red")


def _together(one: JointVerdict) -> Text:
    found = Text.assemble((f"{plain(one.source)}, taken together: ", "dim"))
    found.append(one.verdict, STYLE.get(one.verdict, "yellow"))
    found.append(plain(f": {one.reason}" if one.reason else ""), "default")
    return found.append(f"; the others: {one.others}" if one.others else "", "default")
