"""What the stand-in for Labelbox does with what is sent to it: rows that move, priorities, issues.

`lag` seconds pass until a move or a priority is done and until an issue can be seen. What was done is in `done`, in
order: tuples that begin with the operation.
"""

import json
import math
import threading
import time
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.client import HTTPConnection
from typing import Any, ClassVar

QUEUES = [
    {"id": "queue-label", "name": "Initial labeling task", "queueType": "MANUAL_LABELING_QUEUE"},
    {"id": "queue-review", "name": "Initial review task", "queueType": "MANUAL_REVIEW_QUEUE"},
    {"id": "queue-rework", "name": "Rework", "queueType": "MANUAL_REWORK_QUEUE"},
]
FEW = "MALFORMED_REQUEST"


@dataclass(kw_only=True)
class Pushes:
    """The part of the stand-in that is changed by what is sent."""

    queues: list = field(default_factory=lambda: [dict(queue) for queue in QUEUES])
    rows: dict = field(default_factory=dict)
    """How photographs stand, by ID: status, priority, steps (newest first)."""
    fields: dict = field(default_factory=dict)
    models: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    imports: dict = field(default_factory=dict)
    issues: dict = field(default_factory=dict)
    done: list = field(default_factory=list)
    waiting: list = field(default_factory=list)
    lag: float = 0.0
    turn: Any = field(default_factory=threading.RLock, repr=False, compare=False)
    unmovable: set = field(default_factory=set)
    result: str | None = None
    """What a task that fails says."""
    types_of_tasks: tuple = ("send-to-task-queue", "queue-priority-update")

    def add_rows(self, *ids, status="DONE"):
        """Put photographs into the project."""
        for row_id in ids:
            self.rows[row_id] = {"status": status, "priority": 5, "steps": [self.step("Move", "queue-review", None)]}

    def step(self, action, before, after):
        names = {queue["id"]: queue["name"] for queue in self.queues}
        about = {"action": action, "created_at": "2025-03-01T10:00:00.000+00:00", "created_by": "a@example.org"}
        about |= {"previous_task_id": before, "previous_task_name": names.get(before)}
        return about | {"next_task_id": after, "next_task_name": names.get(after)}

    def relabel(self, row_id):
        """What an annotator does with a photograph in rework: submit it again."""
        row = self.rows[row_id]
        row["status"] = "DONE"
        row["steps"].insert(0, self.step("Move", "queue-rework", None))

    def rest(self):
        """Wait until nobody is connected and all that was asked for is done: a killed asker's last words too."""
        knock = HTTPConnection("127.0.0.1", self.http.server_port)  # answered only after all who came before
        knock.request("GET", "/knock")
        knock.getresponse().read()
        knock.close()
        with self.http.left:
            assert self.http.left.wait_for(lambda: self.http.connected == 0, timeout=60)
        self.let_time_pass(until=math.inf)

    def later(self, what):
        with self.turn:
            self.waiting.append((time.monotonic() + self.lag, what))
        self.let_time_pass()

    def let_time_pass(self, until=None):
        """Do what is due, once: requests of a killed push may still be answered beside those of the next."""
        with self.turn:
            until = time.monotonic() if until is None else until
            due = [what for moment, what in self.waiting if moment <= until]
            self.waiting = [(moment, what) for moment, what in self.waiting if moment > until]
            for what in due:
                what()

    def moment(self, name, when):
        if self.on_moment:
            self.on_moment(name, when)

    def body_of(self, content_type, data):
        """Return query and variables of a question; a file that comes with it is the variable that the map names."""
        if not content_type.startswith("multipart/"):
            return json.loads(data)
        parts = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + data).get_payload()
        named = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in parts}
        body = json.loads(named["operations"])
        for key, places in json.loads(named["map"]).items():
            body["variables"][places[0].removeprefix("variables.")] = named[key]
        return body

    def pushed_names(self):
        return self.OPERATIONS

    def pushed(self, name, variables, wanted):
        return getattr(self, self.OPERATIONS[name])(variables, wanted)

    def task(self, kind):
        from fakes.labelbox_server import Task

        key = f"task{len(self.tasks) + 1}"
        self.tasks[key] = Task(self.polls, self.ending, type=kind, result=self.result)
        return {"taskId": key}

    def task_queues(self, variables, _):
        queues = [{"description": "", "dataRowCount": 0, **queue} for queue in self.queues]
        return {"project": {"taskQueues": queues}} if variables["projectId"] in self.projects else None

    def move(self, variables, _):
        ids, queue_id = variables["dataRowIdentifiers"]["ids"], variables["queueId"]
        assert "ID" == variables["dataRowIdentifiers"]["idType"]
        if queue_id not in {queue["id"] for queue in self.queues}:
            return None
        self.later(lambda: self.do_move(ids, queue_id))
        return {"project": {"createBulkAddRowsToQueueTask": self.task("send-to-task-queue")}}

    def do_move(self, ids, queue_id):
        for row_id in ids:
            if row_id in self.rows and row_id not in self.unmovable:
                self.done.append(("rework", row_id, queue_id))
                row = self.rows[row_id]
                row["status"] = "IN_REWORK" if queue_id == "queue-rework" else "IN_REVIEW"
                row["steps"].insert(0, self.step("Move", None, queue_id))

    def prioritise(self, variables, _):
        ids, priority = variables["dataRowIdentifiers"]["ids"], variables["priority"]

        def do():
            for row_id in ids:
                self.done.append(("priority", row_id, priority))
                self.rows[row_id]["priority"] = priority

        self.later(do)
        return {"project": {"createQueuePriorityUpdateTask": self.task("queue-priority-update")}}

    def create_issue(self, variables, wanted):
        data, key = variables["data"], f"issue-{len(self.done) + 1}"
        issue = dict.fromkeys(("friendlyId", "category", "position", "createdBy", "resolvedAt"))
        issue |= {"id": key, "content": data["content"], "status": "Open", "friendlyId": key}
        issue |= {"createdAt": "2025-03-01T10:00:00.000Z", "updatedAt": "2025-03-01T10:00:00.000Z"}
        issue |= {"dataRowId": data["dataRowId"], "labelId": data.get("labelId")}
        self.done.append(("issue", data["dataRowId"], data.get("labelId"), data["content"]))
        self.later(lambda: self.issues.__setitem__(key, issue))
        return {"createIssue": _filled(wanted, issue)}

    def list_issues(self, variables, wanted):
        row_id = (variables["where"].get("dataRow") or {}).get("id")
        found = [i for i in self.issues.values() if i["labelId"] and row_id in (None, i["dataRowId"])]
        start = int(variables.get("from") or 0)
        page = found[start : start + self.page]
        cursor = str(start + self.page) if start + self.page < len(found) else None
        return {"project": {"issues": {"nodes": [_filled(wanted, i) for i in page], "nextCursor": cursor}}}

    def how_rows_stand(self, asked):
        """Return an export of certain rows, as they stand; None where the whole export was asked for."""
        query = ((asked.get("filters") or {}).get("searchQuery") or {}).get("query") or []
        ids = next((each["ids"] for each in query if each.get("type") == "data_row_id"), None)
        if ids is None:
            return None
        project_id = asked["filters"].get("projectId") or next(iter(self.projects))
        lines = []
        for row_id in sorted(set(ids) & set(self.rows)):
            row = self.rows[row_id]
            details = {"workflow_status": row["status"], "priority": row["priority"], "workflow_history": row["steps"]}
            about = {"name": "pigmented-lesions", "labels": [], "project_details": details}
            lines.append({"data_row": {"id": row_id}, "projects": {project_id: about}})
        return "".join(f"{json.dumps(line)}\n" for line in lines).encode()

    def metadata_ontology(self, *_):
        fixed = {"kind": "CustomMetadataString", "reserved": False, "options": []}
        return {"customMetadataOntology": [{**fixed, "id": key, "name": name} for name, key in self.fields.items()]}

    def make_field(self, variables, _):
        data = variables["data"]
        self.done.append(("metadata_field", data["name"], data["kind"]))
        self.fields[data["name"]] = f"field{len(self.fields):020}"
        about = {"id": self.fields[data["name"]], "name": data["name"], "kind": data["kind"]}
        return {"upsertCustomMetadataSchema": {**about, "reserved": False, "options": []}}

    def write_metadata(self, variables, _):
        failed = []
        for row in variables["metadata"]:
            if row["dataRowId"] not in self.rows:
                failed.append({**row, "error": "no such data row"})
                continue
            for each in row["fields"]:
                self.done.append(("metadata", row["dataRowId"], each["schemaId"], each["value"]))
        return {"upsertDataRowCustomMetadata": failed}

    def project_ontology(self, _, wanted):
        return {"project": {"ontology": _filled(wanted, {"id": "ontology-1", "name": "lesions"})}}

    def list_models(self, variables, wanted):
        name = next(iter(variables.values()), None)
        return {"models": [_filled(wanted, model) for model in self.models.values() if model["name"] == name]}

    def make_model(self, variables, wanted):
        key = f"model-{len(self.models) + 1}"
        self.models[key] = {"id": key, "name": variables["name"], "ontologyId": variables["ontologyId"]}
        self.done.append(("model", variables["name"]))
        return {"createModel": _filled(wanted, self.models[key])}

    def list_runs(self, variables, wanted):
        runs = [run for run in self.runs.values() if run["modelId"] in variables.values()]
        return {"model": {"modelRuns": [_filled(wanted, _without(run, "rows", "splits", "lines")) for run in runs]}}

    def make_run(self, variables, wanted):
        key = f"model-run-{len(self.runs) + 1}"
        about = {"id": key, "name": variables["name"], "modelId": variables["modelId"], "trainingMetadata": None}
        self.runs[key] = about | {"rows": set(), "splits": {}, "lines": {}}
        self.done.append(("model_run", variables["name"]))
        return {"createModelRun": _filled(wanted, about)}

    def add_rows_to_run(self, variables, _):
        self.runs[variables["modelRunId"]]["rows"] |= set(variables["dataRowIds"])
        return {"createMEAModelRunDataRowRegistrationTask": "job-1"}

    def assign_split(self, variables, _):
        run = self.runs[variables["modelRunId"]]
        for each in variables["data"]["assignments"]:
            assert set(each["dataRowIds"]) <= run["rows"]
            run["splits"] |= dict.fromkeys(each["dataRowIds"], each["split"])
        return {"createAssignDataRowsToDataSplitTask": "job-2"}

    def rows_end(self, *_):
        return {"MEADataRowRegistrationTaskStatus": {"status": self.ending, "errorMessage": self.result}}

    def split_end(self, *_):
        return {"assignDataRowsToDataSplitTaskStatus": {"status": self.ending, "errorMessage": self.result}}

    def import_predictions(self, variables, wanted):
        run, name = self.runs[variables["modelRunId"]], variables["name"]
        lines = [json.loads(line) for line in variables["file"].decode().splitlines()]
        statuses = []
        for line in lines:
            known = line["dataRow"]["id"] in run["rows"]
            told = {"status": "SUCCESS"} if known else {"status": "FAILURE", "errors": [{"message": "not in the run"}]}
            statuses.append({"uuid": line["uuid"], "dataRow": line["dataRow"], **told})
            if known:
                self.done.append(("prediction", line["uuid"]))
                run["lines"][line["uuid"]] = line
        key = f"import-{len(self.imports) + 1}"
        path = f"/statuses/{key}.ndjson"
        self.files[path] = ("application/json", "".join(f"{json.dumps(s)}\n" for s in statuses).encode())
        about = {"id": key, "name": name, "state": "FINISHED", "modelRunId": run["id"], "progress": "100%"}
        self.imports[name] = about | {"statusFileUrl": f"{self.url}{path}?Signature=SECRET-SIGNATURE"}
        return {"createModelErrorAnalysisPredictionImport": _filled(wanted, self.imports[name])}

    def find_import(self, variables, wanted):
        known = self.imports.get(variables["name"])
        return {"modelErrorAnalysisPredictionImport": _filled(wanted, known)} if known else None

    OPERATIONS: ClassVar = {
        "GetProjectOntologyPyApi": "project_ontology",
        "GetModelsPyApi": "list_models",
        "createModelPyApi": "make_model",
        "GetModelModelRunsPyApi": "list_runs",
        "CreateModelRunPyApi": "make_run",
        "createMEAModelRunDataRowRegistrationTaskPyApi": "add_rows_to_run",
        "MEADataRowRegistrationTaskStatusPyApi": "rows_end",
        "assignDataSplitPyApi": "assign_split",
        "assignDataRowsToDataSplitTaskStatusPyApi": "split_end",
        "createMEAPredictionImportByFilePyApi": "import_predictions",
        "getModelErrorAnalysisPredictionImportPyApi": "find_import",
        "GetMetadataOntologyBetaPyApi": "metadata_ontology",
        "UpsertCustomMetadataSchemaPyApi": "make_field",
        "UpsertDataRowMetadataBetaPyApi": "write_metadata",
        "GetProjectTaskQueuesPyApi": "task_queues",
        "AddDataRowsToTaskQueueAsyncPyApi": "move",
        "createQueuePriorityUpdateTaskPyApi": "prioritise",
        "CreateIssuePyApi": "create_issue",
        "GetProjectIssuesPyApi": "list_issues",
    }


def _without(known, *names):
    return {name: value for name, value in known.items() if name not in names}


def _filled(wanted, known):
    return dict.fromkeys(wanted) | known
