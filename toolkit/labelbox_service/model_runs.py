"""Model runs at Labelbox: the model, its run, the run's rows and their splits, and predictions with confidence."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from labelbox import Model
from labelbox.schema.annotation_import import MEAPredictionImport
from lbox import exceptions

from toolkit.errors import ServiceError
from toolkit.labelbox_service.patience import PassingError
from toolkit.labelbox_service.sending import SendingService

FINISHED, FAILED = "FINISHED", "FAILED"
AGAIN = "run the same command again: it goes on"


class ModelRunService(SendingService):
    """Models, their runs, and imports of predictions."""

    def ontology_of(self, project: Any) -> str:
        """Return the ID of a project's ontology."""
        return str(self.ask(project.ontology).uid)

    def model(self, name: str, ontology_id: str) -> Any:
        """Return the model of a name and an ontology, None where there is none."""
        models = self.ask(lambda: list(self.client.get_models(where=Model.name == name)))
        return next((model for model in models if model.ontology_id == ontology_id), None)

    def create_model(self, name: str, ontology_id: str) -> str:
        """Make a model; return its ID."""
        return str(self.send(lambda: self.client.create_model(name, ontology_id)).uid)

    def model_run(self, model: Any, name: str) -> Any:
        """Return a model's run of a name, None where there is none."""
        runs = self.ask(lambda: list(model.model_runs()))
        return next((run for run in runs if run.name == name), None)

    def create_model_run(self, model: Any, name: str) -> str:
        """Make a run of a model; return its ID."""
        return str(self.send(lambda: model.create_model_run(name)).uid)

    def add_rows(self, run: Any, row_ids: list[str], *, minutes: int) -> None:
        """Put rows into a run; rows that are there already stay. May be repeated."""
        self._job(run, lambda: run.upsert_data_rows(row_ids), minutes=minutes)

    def assign_split(self, run: Any, row_ids: list[str], split: str, *, minutes: int) -> None:
        """Say which split rows of a run belong to: TRAINING, VALIDATION, TEST or UNASSIGNED. May be repeated."""
        self._job(run, lambda: run.assign_data_rows_to_split(row_ids, split), minutes=minutes)

    def _job(self, run: Any, call: Callable[[], object], *, minutes: int) -> None:
        """Start a job of a run and wait for it; the SDK's own wait loses the words of an error."""
        looks: list[Callable[[], dict[str, Any]]] = []
        run._wait_till_done = lambda look, **_: looks.append(look)  # noqa: SLF001 - see above
        self.client.enable_experimental = True  # the SDK calls splits experimental
        self.ask(call)
        waited, pause = 0.0, self.patience.poll
        while (end := self.ask(looks[-1]))["status"] not in ("COMPLETE", FAILED):
            if waited >= 60 * minutes:
                raise ServiceError(
                    f"Labelbox has not ended it within {minutes} min", remedy="run the same command again"
                )
            self.patience.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 5 * self.patience.poll)
        if end["status"] == FAILED:
            words = self.safe(Exception(end.get("errorMessage") or "it does not say why"))
            raise ServiceError(
                f"Labelbox could not do it: {words}", remedy="look in Labelbox, then run the command again"
            )

    def create_import(self, run: Any, name: str, lines: list[dict[str, Any]]) -> str:
        """Send predictions to a run under a name; return the ID of the import."""
        create = MEAPredictionImport.create_from_objects
        return str(self.send(lambda: create(self.client, run.uid, name, lines)).uid)

    def find_import(self, run: Any, name: str) -> Any:
        """Return the import of a name, as Labelbox has it; None where there is none."""
        try:
            return self.ask(lambda: MEAPredictionImport.from_name(self.client, run.uid, name, as_json=True))
        except exceptions.ResourceNotFoundError:
            return None

    def import_end(self, run: Any, name: str, *, minutes: int) -> tuple[str, dict[str, str]]:
        """Wait for an import; return its state, and by the uuid of a line why it was refused."""
        waited, pause = 0.0, self.patience.poll
        while True:
            found = self.find_import(run, name)
            if found is None:
                return "GONE", {}
            if found["state"] in (FINISHED, FAILED):
                break
            if waited >= 60 * minutes:
                raise ServiceError(
                    f"Labelbox has not read it within {minutes} min", remedy="run the same command again"
                )
            self.patience.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 5 * self.patience.poll)
        address = found["statusFileUrl" if found["state"] == FINISHED else "errorFileUrl"]
        lines = self._lines(address) if address else []
        refused = [line for line in lines if line.get("status") == "FAILURE" or found["state"] == FAILED]
        return found["state"], {str(line.get("uuid")): self._why(line) for line in refused}

    def _why(self, line: dict[str, Any]) -> str:
        errors = [str(each.get("message")) for each in line.get("errors") or [] if isinstance(each, dict)]
        return self.safe(Exception("; ".join(errors) or "no reason given"))

    def _lines(self, address: str) -> list[dict[str, Any]]:
        """Return the lines of a status file; read here, since the SDK breaks lines at characters within texts."""
        if urlsplit(address).scheme != "https" and urlsplit(self.endpoint).scheme == "https":
            raise ServiceError("Labelbox gave an address that is not https for a status file", place=self.endpoint)

        def get() -> bytes:
            try:
                answer = requests.get(address, timeout=60, headers={"Accept-Encoding": "identity"})
            except requests.RequestException as error:
                raise PassingError(f"the connection broke: {type(error).__name__}") from None
            if answer.status_code != requests.codes.ok:
                raise PassingError(f"the storage answered {answer.status_code}")
            return answer.content

        return [json.loads(line) for line in self.ask(get).split(b"\n") if line.strip()]
