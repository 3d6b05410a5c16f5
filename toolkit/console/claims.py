"""The verdicts on printed figures: a table for each set of cases, then the verdict on each source as a whole."""

from rich.console import Group, RenderableType
from rich.text import Text

from toolkit.console.text import line, plain, summary, table
from toolkit.formatting import counted
from toolkit.stages.claims import FEASIBLE, NOT_REPRODUCIBLE, Claims, JointVerdict, Verdict

STYLE = {FEASIBLE: "green", NOT_REPRODUCIBLE: "red"}
ASSUMPTION = "Assumption: each case has exactly one class, and exactly one class was predicted for it."


def claims(result: Claims) -> RenderableType:
    """Return the verdicts on a file of claims."""
    blocks: list[RenderableType] = []
    for part in dict.fromkeys(verdict.part for verdict in result.verdicts):
        assumed = f" (assumed: {result.assumed[part]})" if part in result.assumed else ""
        assumed += f" ({'; '.join(result.notes[part])})" if part in result.notes else ""
        verdicts = table("#", "source", "claim", "verdict")
        for verdict in result.verdicts:
            if verdict.part == part:
                verdicts.add_row(str(verdict.number), line(verdict.source), line(verdict.claim), _of_claim(verdict))
        blocks += [line(f"{part}{assumed}", "bold"), verdicts]
        blocks += [*(_of_source(joint) for joint in result.joint if joint.part == part), Text()]
    shown = {verdict.part for verdict in result.verdicts}
    blocks += [_of_source(joint) for joint in result.joint if joint.part not in shown]
    total = f"{len(result.contradicted)} of {counted(len(result.verdicts), 'claim')} {NOT_REPRODUCIBLE}"
    return Group(*blocks, summary("claims", total, ASSUMPTION))


def _of_claim(verdict: Verdict) -> Text:
    return _verdict(verdict).append(plain(f"\n{verdict.flag}" if verdict.flag else ""), "red")


def _of_source(joint: JointVerdict) -> Text:
    together = Text.assemble((f"{plain(joint.source)}, all claims together: ", "dim"), _verdict(joint))
    together.append(f"; the other claims: {joint.others}" if joint.others else "", "default")
    return together.append(plain(f"\nwhy: {joint.why}" if joint.why else ""), "default")


def _verdict(verdict: Verdict | JointVerdict) -> Text:
    text = Text(verdict.verdict, STYLE.get(verdict.verdict, "yellow"))
    return text.append(plain(f": {verdict.reason}" if verdict.reason else ""), "default")
