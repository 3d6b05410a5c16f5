"""What was sent to Labelbox, or would be, in a terminal."""

import json

from rich.console import Group, RenderableType

from toolkit.console.text import line, next_step, summary, table
from toolkit.formatting import counted, listed, spoken
from toolkit.stages.push import Pushed

SHOWN = {"method", "project_id", "project"}


def pushed(result: Pushed) -> RenderableType:
    """Return what was sent, or would be."""
    before = [f"{counted(result.sent_before, 'thing')} sent before, not sent again"] if result.sent_before else []
    left_out = [f"! left out: {listed(result.left_out)}"] if result.left_out else []
    missing = [f"! missing: {each}" for each in result.missing]
    subject = f"{result.what} {result.subject}"
    if result.applied:
        done = [f"{spoken(operation)}: {listed(states)}" for operation, states in result.states.items()]
        said = [f"! {times} not sent: {what}" for what, times in result.problems.items()]
        lines = (f"{subject} → Labelbox", *done, *before, *said, *left_out, "all that was sent: toolkit query pushes")
        return Group(summary("push", *lines), next_step(result.next))
    head = f"dry run: nothing was sent. {subject}: {counted(len(result.calls), 'call')} would be made"
    calls = table("call", "project", "what exactly is sent")
    for call in result.calls:
        sent = json.dumps({name: value for name, value in call.items() if name not in SHOWN}, ensure_ascii=False)
        calls.add_row(line(call["method"]), line(call.get("project", "")), line(sent))
    return Group(calls, summary("push", head, *before, *result.notes, *left_out, *missing), next_step(result.next))
