"""The connection to Labelbox through its SDK: address, key, faults and rate limits.

Time-outs that the SDK hides and its own retries are handled here. Each of its exceptions becomes one message that says
what to do next; the API key is never part of a message.
"""

import importlib
import inspect
import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import labelbox
from labelbox import pagination
from lbox import exceptions

from toolkit.errors import ServiceError, StudyError
from toolkit.labelbox_service.patience import NotTakenError, PassingError, Patience
from toolkit.manifest.cohort import PullSection
from toolkit.privacy import scrub

T = TypeVar("T")
GRAPHQL = "https://api.labelbox.com/graphql"
KEY_SERVICE = "lesion-toolkit"
METHOD = "lesion-toolkit"
"""What the SDK tells Labelbox that it was called by; else it looks through the stack and its source for a name."""
REFUSALS = (exceptions.LabelboxError, exceptions.OperationNotAllowedException, exceptions.MalformedQueryException)


def api_key() -> str:
    """Return the key from LABELBOX_API_KEY or the system's keyring; it is never written or shown."""
    key = os.environ.get("LABELBOX_API_KEY", "").strip() or _key_of_keyring()
    remedy = "set LABELBOX_API_KEY, or keep the key in the system's keyring under the service lesion-toolkit"
    if not key:
        raise ServiceError("there is no Labelbox API key", remedy=remedy)
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ServiceError("the Labelbox API key holds a space or a character that no key has", remedy=remedy)
    return key


def _key_of_keyring() -> str:
    with suppress(Exception):  # not installed, or no keyring on this machine: then there is no key there
        keyring = importlib.import_module("keyring")
        return (keyring.get_password(KEY_SERVICE, "LABELBOX_API_KEY") or "").strip()
    return ""


class UnclearError(ServiceError):
    """An answer that cannot be read, or an error of the server: what was asked may have been done."""


class Connection:
    """A connection to Labelbox; every question is asked again when it fails in passing."""

    def __init__(self, settings: PullSection, key: str, patience: Patience) -> None:
        self.endpoint = os.environ.get("LABELBOX_ENDPOINT") or settings.endpoint or GRAPHQL
        rest = os.environ.get("LABELBOX_REST_ENDPOINT") or settings.rest_endpoint
        self.rest_endpoint = rest or f"{self.endpoint.removesuffix('/graphql')}/api/v1"
        for address in (self.endpoint, self.rest_endpoint):
            _check_address(address, allow_private=settings.allow_private)
        self.key, self.patience = key, patience
        for name in ("labelbox", "lbox"):  # they log answers, which hold patients' data and signed URLs
            logging.getLogger(name).addHandler(logging.NullHandler())
            logging.getLogger(name).propagate = False
        self.client = labelbox.Client(key, endpoint=self.endpoint, rest_endpoint=self.rest_endpoint)
        vars(pagination)["call_info_as_str"] = lambda: METHOD  # each list looks for a name anew: 50 ms of CPU
        # The SDK repeats a 5xx for two minutes on its own, and nothing else: here every fault has the same patience.
        inner = self.client._request_client  # noqa: SLF001
        inner.execute = partial(inspect.unwrap(type(inner).execute), inner)

    def find_project(self, text: str) -> Any:
        """Return the SDK's project of this name or ID."""
        where = labelbox.Project.name == text
        projects = self.ask(lambda: list(self.client.get_projects(where=where)))
        if len(projects) > 1:
            ids = ", ".join(sorted(project.uid for project in projects))
            raise ServiceError(
                f"{len(projects)} projects are named {text!r}", remedy=f"name it by its ID in the study file: {ids}"
            )
        return projects[0] if projects else self.get("project", text, lambda: self.client.get_project(text))

    def get(self, kind: str, text: str, get: Callable[[], Any]) -> Any:
        """Return what `get` returns; say that there is no such thing where Labelbox says so."""
        try:
            return self.ask(get)
        except exceptions.ResourceNotFoundError:
            raise ServiceError(
                f"Labelbox knows no {kind.replace('_', ' ')} {text!r}, or this key may not see it",
                place=self.endpoint,
                remedy="take its ID from its address in Labelbox; the key's owner must be a member",
            ) from None

    def ask(self, call: Callable[[], T]) -> T:
        """Return what a question gives, asked again when it fails in passing."""
        try:
            return self.patience.keep(lambda: self.once(call))
        except PassingError as error:
            raise ServiceError(
                f"Labelbox cannot be asked: {error}",
                place=self.endpoint,
                remedy="look at the network and https://status.labelbox.com, then run the same command: it goes on",
            ) from None

    def once(self, call: Callable[[], T]) -> T:
        """Call once; raise PassingError, ResourceNotFoundError or ServiceError in place of the SDK's exceptions."""
        self.client.set_sdk_method(METHOD)
        try:
            return call()
        except exceptions.ResourceNotFoundError:
            raise
        except exceptions.ApiLimitError:
            raise NotTakenError("its rate limit is reached") from None
        except exceptions.NetworkError as error:
            raise PassingError(f"no connection ({type(error.cause).__name__})") from None
        except (exceptions.InternalServerError, exceptions.TimeoutError) as error:
            raise PassingError(self.safe(error)) from None
        except exceptions.AuthenticationError:
            remedy = "make a new key in Labelbox (Workspace settings, API keys) and set LABELBOX_API_KEY"
            raise ServiceError("Labelbox does not accept the API key", place=self.endpoint, remedy=remedy) from None
        except exceptions.AuthorizationError as error:
            remedy = "ask an administrator of the Labelbox workspace for the right to do it"
            raise ServiceError(
                f"this API key may not do that: {self.safe(error)}", place=self.endpoint, remedy=remedy
            ) from None
        except (*REFUSALS, TypeError, KeyError, ValueError) as error:
            known = isinstance(error, REFUSALS)
            words = self.safe(error) if known else "an answer of a shape that this version does not know"
            refused = known and type(error) is not exceptions.LabelboxError  # an error of the server, or no JSON at all
            raise (ServiceError if refused else UnclearError)(
                f"Labelbox answered with an error: {words}",
                place=self.endpoint,
                remedy="run the same command again; if it stays, Labelbox's support can tell from these words",
            ) from None

    def safe(self, error: Exception) -> str:
        """Return the start of an error's words, without the key, addresses' queries and e-mails."""
        words = " ".join(str(getattr(error, "message", error)).split()).replace(self.key, "[key removed]")
        return scrub(words)[:200]


def _check_address(address: str, *, allow_private: bool) -> None:
    """Refuse to send the key in the clear, except to this machine or where the study allows it."""
    parts = urlsplit(address)
    own = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise StudyError(
            "Labelbox's address is no http address", place=scrub(address), remedy="look at [pull] endpoint"
        )
    if parts.scheme == "http" and not (own or allow_private):
        remedy = "use https, or set [pull] allow_private = true for a server within your own network"
        raise StudyError("the API key would go over the network unencrypted", place=scrub(address), remedy=remedy)
