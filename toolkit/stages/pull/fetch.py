"""The HTTP request for one photograph or mask, whose address is untrusted.

Before a connection is made, hosts that are not on the list and addresses within the own network are refused; each
redirect is checked by the same rules, and the connection goes to the IP address that was checked.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, NamedTuple
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from requests import certs

from toolkit.labelbox_service.patience import PassingError

STORAGE = ("storage.labelbox.com", "storage.googleapis.com", "*.amazonaws.com")
"""Where Labelbox itself keeps photographs."""
HOPS = 5
BLOCK = 1 << 18
TIMEOUT = 30
LONGEST = 600
"""Seconds for one file, however slowly its bytes drip."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\x00", b"MM\x00*", b"BM")
UNNAMED = ("", "application/octet-stream", "binary/octet-stream")


class RefusedError(Exception):
    """A file that is not fetched; `reason` is the code that stands in `ingest_issues`."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason, self.problem = reason, problem


@dataclass(frozen=True)
class Rules:
    """What may be fetched; `key` goes to `key_origin` alone. `own_hosts` may be private where the study allows it."""

    own_hosts: tuple[str, ...]
    allow_private: bool
    largest: int
    key_origin: str
    key: str

    def __repr__(self) -> str:
        return f"Rules({self.own_hosts!r}, allow_private={self.allow_private})"


class _Target(NamedTuple):
    """An address that passed the rules, and the IP addresses that were checked for it."""

    url: SplitResult
    port: int
    ips: list[str]
    with_key: bool


def fetch(address: str, rules: Rules, file: BinaryIO, *, deadline: float | None = None) -> None:
    """Write the image at `address` to `file`; raise RefusedError for good, PassingError where another try may help."""
    end = deadline or time.monotonic() + LONGEST
    for _ in range(HOPS):
        target = _checked(address, rules)
        try:
            connection = _connected(target)
            try:
                connection.request("GET", _path(target.url), headers=_headers(target, rules))
                answer = connection.getresponse()
                if answer.status not in (301, 302, 303, 307, 308):
                    _take(answer, rules, file, end)
                    return
                address = urljoin(address, answer.headers.get("Location", ""))
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(f"the connection broke: {type(error).__name__}") from None
    raise RefusedError("url_not_allowed", f"more than {HOPS} redirects")


def _checked(address: str, rules: Rules) -> _Target:
    """Check an address by the rules, then its IP addresses."""
    try:
        url = urlsplit(address)
        host, port = (url.hostname or "").lower(), url.port
    except ValueError:
        raise RefusedError("url_not_allowed", "no valid address") from None
    origin = f"{url.scheme}://{url.netloc}"
    with_key = origin == rules.key_origin
    own = with_key or _matches(host, rules.own_hosts)
    if not host.isascii() or not (own or _matches(host, STORAGE)):
        raise RefusedError("url_not_allowed", f"the host {host[:80]!r} is not on the list: [pull] hosts")
    private = with_key or (rules.allow_private and own)
    plain = url.scheme == "http" and private
    if url.username is not None or url.password is not None or not (url.scheme == "https" or plain):
        raise RefusedError("url_not_allowed", "only https, without a user name, may be fetched")
    if port not in (None, 443) and not private:
        raise RefusedError("url_not_allowed", f"port {port} is not allowed")
    port = port or (443 if url.scheme == "https" else 80)
    return _Target(url, port, _resolved(host, port, private=private), with_key)


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    return any(host.endswith(p[1:]) if p.startswith("*.") else host == p for p in patterns)


def _resolved(host: str, port: int, *, private: bool) -> list[str]:
    """Return a host's IP addresses; one that is not public refuses them all."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise PassingError(f"the host {host} has no address") from None
    ips = [str(item[4][0]) for item in addresses]
    if not private and not all(map(is_public, ips)):
        raise RefusedError("url_not_allowed", f"the host {host} stands within a private network")
    return ips


def is_public(text: str) -> bool:
    """Tell whether an IP address belongs to the public internet, looking into those that wrap another one."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if wrapped is None and ip in NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
    return ip.is_global and not ip.is_multicast


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certs.where())
    return context


def _connected(target: _Target) -> http.client.HTTPConnection:
    """Connect to a checked IP address; the certificate is checked for the host's name."""
    host = target.url.hostname or ""
    kind = http.client.HTTPSConnection if target.url.scheme == "https" else http.client.HTTPConnection
    connection = kind(host, target.port, timeout=TIMEOUT)
    failed = OSError("no address")
    for ip in target.ips:
        try:
            plain = socket.create_connection((ip, target.port), timeout=TIMEOUT)
        except OSError as error:
            failed = error
            continue
        with ExitStack() as closed_on_failure:
            closed_on_failure.callback(plain.close)
            secure = target.url.scheme == "https"
            connection.sock = _tls().wrap_socket(plain, server_hostname=host) if secure else plain
            closed_on_failure.pop_all()
        return connection
    raise failed


def _path(url: SplitResult) -> str:
    path = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return path + (f"?{quote(url.query, safe='/%:@!$&()*+,;=~-._?')}" if url.query else "")


def _headers(target: _Target, rules: Rules) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "lesion-toolkit"}
    return headers | ({"Authorization": f"Bearer {rules.key}"} if target.with_key else {})


def _check_answer(answer: http.client.HTTPResponse, rules: Rules) -> None:
    """Check an answer's status, content type and announced size."""
    if answer.status == 429 or answer.status >= 500:
        raise PassingError(f"the storage answered {answer.status}")
    if answer.status in (400, 401, 403, 410):
        raise RefusedError("url_expired", f"the storage answered {answer.status}: such addresses live about a day")
    if answer.status != 200:
        raise RefusedError("url_not_found", f"the storage answered {answer.status}")
    kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
    if not kind.startswith("image/") and kind not in UNNAMED:
        raise RefusedError("not_an_image", f"the storage sent {kind[:60]!r}")
    if (answer.length or 0) > rules.largest:
        raise RefusedError("photograph_too_large", f"more than {rules.largest} bytes")


def _take(answer: http.client.HTTPResponse, rules: Rules, file: BinaryIO, end: float) -> None:
    """Write an answer's body after its head and its first bytes were checked."""
    _check_answer(answer, rules)
    size, announced = 0, answer.length
    while block := answer.read(BLOCK):
        if not size and not (block.startswith(MAGIC) or (block[:4] == b"RIFF" and block[8:12] == b"WEBP")):
            raise RefusedError("not_an_image", "its first bytes are those of no photograph")
        size += len(block)
        if size > rules.largest:
            raise RefusedError("photograph_too_large", f"more than {rules.largest} bytes")
        if time.monotonic() > end:
            raise PassingError(f"it took longer than {LONGEST} seconds")
        file.write(block)
    if announced is not None and size != announced:
        raise PassingError("the connection was cut")
    if not size:
        raise RefusedError("image_empty", "the storage sent zero bytes")
