"""Stands in for Labelbox on 127.0.0.1, as far as the real SDK asks it for exports, and for the storage behind it.

What the SDK sends back is answered in labelbox_pushes.py. Faults are injected by the name of what is asked:
`server.faults["GetExportFileFromOffsetPyApi"] = ["503", "limit"]` makes the first two such questions fail; "chunk" and
the paths of files are names too. A fault is an HTTP status, "cut" in the middle, "limit", one of Labelbox's error
codes, or None for none; with "done " before it, what was asked is done first, and only the answer fails.
"""

import json
import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fakes.labelbox_pushes import Pushes

KEY = "lb-secret-key-0123456789"
FIELDS = re.compile(r"\{([^{}]*)\}")
OPERATION = re.compile(r"(?:query|mutation)\s+(\w+)")


@dataclass
class Asked:
    """A question of the SDK."""

    name: str
    variables: dict
    query: str
    method: str


@dataclass
class Task:
    """An export task: `polls` looks until it ends."""

    polls: int
    ending: str
    type: str = "export-data-rows"
    content: bytes | None = None
    result: str | None = None


@dataclass
class Server(Pushes):
    """What Labelbox holds, what goes wrong, and what was asked; everything may be changed between questions."""

    export: bytes
    chunk: int = 5_000
    errors: bytes = b""
    projects: dict = field(default_factory=lambda: {"project-1": "pigmented-lesions"})
    files: dict = field(default_factory=dict)
    faults: dict = field(default_factory=lambda: defaultdict(list))
    polls: int = 0
    ending: str = "COMPLETE"
    on_piece: object = None
    on_moment: object = None
    """Called before a question is answered, when it was done, and when its answer was sent."""
    versions: list = field(default_factory=list)
    page: int = 100
    tasks: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    got: list = field(default_factory=list)

    def __enter__(self):
        self.http = _Listener(("127.0.0.1", 0), type("Bound", (_Handler,), {"server_of": self}))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    @property
    def environment(self):
        return {"LABELBOX_API_KEY": KEY, "LABELBOX_ENDPOINT": f"{self.url}/graphql"}

    def names(self):
        """What was asked, in order."""
        return [asked.name for asked in self.asked]

    def answer(self, name, variables, query):
        """Return the data of an answer; None = there is no such thing."""
        wanted = FIELDS.findall(query)[-1].split()
        self.let_time_pass()
        if name in self.pushed_names():
            return self.pushed(name, variables, wanted)
        return self.pulled(name, variables, wanted)

    def pulled(self, name, variables, wanted):
        first = next(iter(variables.values()), None)
        if name == "GetProjectsPyApi":
            found = [_thing(wanted, id=key, name=text) for key, text in self.projects.items() if text == first]
            return {"projects": found}
        if name in ("GetProjectPyApi", "GetDatasetPyApi", "GetModelRunPyApi", "getSavedQueryPyApi"):
            kind = {"GetProjectPyApi": "project", "GetDatasetPyApi": "dataset", "GetModelRunPyApi": "modelRun"}
            known = first in self.projects or first in ("dataset-1", "slice-1", "run-1")
            return {kind.get(name, "getSavedQuery"): _thing(wanted, id=first, name=first)} if known else None
        if name == "GetUserPyApi":
            return {"user": _thing(wanted, id="user-1")}
        if name == "CurrentUserPyApi":
            return {"user": {"timezone": "Europe/Berlin"}}
        if name.startswith("exportDataRowsIn"):
            task = f"task{len(self.tasks) + 1}"
            self.tasks[task] = Task(self.polls, self.ending, content=self.how_rows_stand(variables["input"]))
            return {name.removesuffix("PyApi"): {"taskId": task, "isStreamable": True}}
        about_versions = name == "GetLabelVersionsPyApi"
        return self.label_versions(**variables) if about_versions else self.about_task(name, variables, wanted)

    def label_versions(self, where, **more):
        """Return a page of a project's versions; None among them is a page without any, as the service may send."""
        after, start = where.get("createdAfter", ""), int(more.get("from") or 0)
        known = [
            v for v in self.versions if v is None or (v["projectId"] == where["projectId"] and v["createdAt"] >= after)
        ]
        page, end = known[start : start + self.page], start + self.page
        nodes = [version for version in page if version is not None]
        return {"labelVersions": {"nodes": nodes, "nextCursor": str(end) if end < len(known) else None}}

    def about_task(self, name, variables, wanted):
        if name == "GetUserCreatedTasksPyApi":
            key = variables["param_0"]
            task = self.tasks.get(key)
            if task is None:
                return {"user": {"createdTasks": []}}
            task.polls -= 1
            status = "IN_PROGRESS" if task.polls >= 0 else task.ending
            about = {"id": key, "status": status, "type": task.type, "result": task.result}
            return {"user": {"createdTasks": [_thing(wanted, **about)]}}
        asked = self.tasks[variables["where"]["id"]].content
        whole = self.export if asked is None else asked
        stream = whole if variables["streamType"] == "RESULT" else self.errors if asked is None else b""
        if name == "GetExportMetadataHeaderPyApi":
            header = {"totalSize": len(stream), "totalLines": len(stream.splitlines())} if stream else None
            return {"task": {"exportMetadataHeader": header}}
        start = int(variables["offset"]) // self.chunk * self.chunk
        end = min(start + self.chunk, len(stream)) - 1
        of = f"{variables['where']['id']}/{variables['streamType']}"
        file = f"{self.url}/chunk/{of}/{start}?Signature=SECRET-SIGNATURE"
        told = {"offsets": {"start": str(start), "end": str(end)}, "lines": {"start": 0, "end": 0}, "file": file}
        return {"task": {"exportFileFromOffset": told}}

    def fault(self, name):
        return self.faults[name].pop(0) if self.faults[name] else None


def _thing(wanted, **known):
    return dict.fromkeys(wanted) | known


class _Listener(ThreadingHTTPServer):
    """Counts who is connected."""

    daemon_threads = True

    def __init__(self, *where):
        super().__init__(*where)
        self.connected, self.left = 0, threading.Condition()

    def process_request(self, *asker):
        with self.left:
            self.connected += 1
        super().process_request(*asker)

    def process_request_thread(self, *asker):
        try:
            super().process_request_thread(*asker)
        finally:
            with self.left:
                self.connected -= 1
                self.left.notify_all()


class _Handler(BaseHTTPRequestHandler):
    server_of: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        server = self.server_of
        body = server.body_of(self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"])))
        name = OPERATION.search(body["query"])[1]
        method = self.headers["X-SDK-Method"]
        server.asked.append(Asked(name, body["variables"] or {}, body["query"], method))
        server.moment(name, "asked")
        fault = server.fault(name)
        if fault and fault.startswith("done "):
            fault = fault.removeprefix("done ")
            server.answer(name, body["variables"] or {}, body["query"])
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.send_json(_error("AUTHENTICATION_ERROR", "no"))
        if fault == "limit":
            return self.send_json({"message": "You have exceeded your limit"}, status=429)
        if fault == "cut":
            return self.close_now()
        if fault and fault.isdigit():
            return self.send_json({}, status=int(fault))
        if fault:
            return self.send_json(_error(fault, f"refused for {self.headers['Authorization']}"))
        data = server.answer(name, body["variables"] or {}, body["query"])
        server.moment(name, "done")
        self.send_json(_error("RESOURCE_NOT_FOUND", "no such thing") if data is None else {"data": data})
        return server.moment(name, "answered")

    def do_GET(self):
        server, path = self.server_of, self.path.partition("?")[0]
        server.got.append((path, self.headers["Authorization"]))
        if not path.startswith("/chunk/"):
            return self.send_file(path)
        _, _, task, stream, start = path.split("/")
        asked = server.tasks[task].content if task in server.tasks else None
        whole = (server.export if stream == "RESULT" else server.errors) if asked is None else asked
        content = whole[int(start) :][: server.chunk]
        fault = server.fault("chunk")
        if fault and fault.isdigit():
            return self.send_bytes(b"", "text/plain", status=int(fault))
        return self.send_bytes(content, "application/json", cut=fault == "cut")

    def send_file(self, path):
        fault = self.server_of.fault(path)
        if fault and fault.isdigit():
            return self.send_bytes(b"", "text/plain", status=int(fault))
        if path not in self.server_of.files:
            return self.send_bytes(b"", "text/plain", status=404)
        kind, content = self.server_of.files[path]
        if kind == "redirect":
            self.send_response(302)
            self.send_header("Location", content)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self.send_bytes(content, kind, cut=fault == "cut")

    def send_json(self, document, status=200):
        self.send_bytes(json.dumps(document).encode(), "application/json", status=status)

    def send_bytes(self, content, kind, *, status=200, cut=False):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        for piece in (content[:half], content[half:]):
            self.wfile.write(piece)
            self.wfile.flush()
            if self.server_of.on_piece and self.command == "GET":
                self.server_of.on_piece()
            if cut:
                return self.close_now()
        return None

    def close_now(self):
        self.close_connection = True

    def handle(self):
        try:
            super().handle()
        except ConnectionError:  # the asker was killed
            self.close_connection = True

    def log_message(self, *_):
        pass


def _error(code, message):
    return {"errors": [{"message": message, "extensions": {"code": code}}]}
