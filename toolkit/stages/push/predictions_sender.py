"""Predictions sent to a model run at Labelbox: the run's rows first, then their splits, then the predictions."""

from itertools import groupby
from typing import Any

from toolkit.errors import ServiceError
from toolkit.labelbox_service.model_runs import FAILED, FINISHED, ModelRunService
from toolkit.stages.push.planned import Items
from toolkit.stages.push.predictions import MOST, RunPlan, import_name
from toolkit.stages.push.sender import GONE, Sender, Step
from toolkit.workspace.pushes import PushCall, PushItem


class RunSender:
    """Sends a run's predictions; the model and its run are made where they are not there."""

    def __init__(self, service: ModelRunService, plan: RunPlan, sender: Sender, *, minutes: int) -> None:
        self.service, self.plan, self.sender, self.minutes = service, plan, sender, minutes
        self.ontology_id = service.ontology_of(service.project(plan.project_id))
        self.run: Any = None

    def send(self) -> None:
        """Send all that has not been sent."""
        self.run = self._model_run()
        self.sender.run(self._repeatable("rows", self._add_rows), self.plan.rows, most=MOST)
        split = self._repeatable("split", self._assign_split)
        for _, group in groupby(self.plan.splits, key=lambda item: item.value):
            self.sender.run(split, list(group), most=MOST)
        self.sender.run(self._prediction(), self.plan.predictions, most=MOST)

    def _model_run(self) -> Any:
        """Return the model run; make it, and its model, where there is none of the name."""
        name, ontology_id = self.plan.model, self.ontology_id

        def model() -> Any:
            return self.service.model(name, ontology_id)

        def run() -> Any:
            return self.service.model_run(model(), self.plan.run_id)

        self._make("model", name, model, lambda: self.service.create_model(name, ontology_id))
        self._make("run", self.plan.run_id, run, lambda: self.service.create_model_run(model(), self.plan.run_id))
        return run()

    def _make(self, operation: str, name: str, find: Any, create: Any) -> None:
        def found(_: Items) -> dict[str, str]:
            thing = find()
            return {name: str(thing.uid)} if thing else {}

        item, target = PushItem(name), self.plan.run_id
        step = Step(operation, target, payload=lambda _: {"name": name}, send=lambda _: create(), found=found)
        self.sender.settle(step)
        if find():
            return
        if self.sender.journal.state(operation, target, item) == "sent":
            problem = f"the {operation} {name!r} was made at Labelbox, and is not there any more"
            raise ServiceError(problem, remedy="restore it there; what was sent into it went with it")
        self.sender.run(step, [item], most=1)

    def _repeatable(self, operation: str, send: Any) -> Step:
        def payload(items: Items) -> dict[str, Any]:
            return self.plan.payload(operation, items)

        return Step(operation, self.plan.run_id, payload=payload, send=send, found=lambda _: {}, repeatable=True)

    def _add_rows(self, items: Items) -> str:
        self.service.add_rows(self.run, [str(item.image_id) for item in items], minutes=self.minutes)
        return str(self.run.uid)

    def _assign_split(self, items: Items) -> str:
        ids = [str(item.image_id) for item in items]
        self.service.assign_split(self.run, ids, str(items[0].value), minutes=self.minutes)
        return str(self.run.uid)

    def _prediction(self) -> Step:
        def lines(items: Items) -> list[dict[str, Any]]:
            return [self.plan.lines[item.item] for item in items if item.item in self.plan.lines]

        def name(items: Items) -> str:
            return import_name(self.plan.run_id, lines(items))

        def found(items: Items) -> dict[str, str]:
            there = self.service.find_import(self.run, name(items))
            if not there or there["state"] == FAILED:
                return {}
            return {item.item: str(there["id"]) for item in items}

        def end(call: PushCall) -> tuple[str, str | None, dict[str, list[str | None]]]:
            state, refused = self.service.import_end(self.run, name(call.items), minutes=self.minutes)
            if state not in (FINISHED, FAILED):
                return GONE, None, {}
            if state == FAILED:
                return "failed", next(iter(refused.values()), "the import failed"), {}
            known = [item.item for item in call.items if item.item in self.plan.lines]
            by_line = {self.plan.lines[case_id]["uuid"]: case_id for case_id in known}
            apart: dict[str, list[str | None]] = {
                by_line[each]: ["failed", why] for each, why in refused.items() if each in by_line
            }
            return "sent", None, apart

        return Step(
            "prediction",
            self.plan.run_id,
            payload=lambda items: self.plan.payload("prediction", items),
            send=lambda items: self.service.create_import(self.run, name(items), lines(items)),
            found=found,
            end=end,
        )
