"""Pseudonyms of patients, and the removal of identifiers from texts.

A pseudonym is an HMAC-SHA256 of the normalised identifier. Without the key nobody can go back to the patient. Studies
of one join group give a patient the same pseudonym; those of two groups do not, even under one key, so that only who
has the key can link them. A published key hides nothing.
"""

import hashlib
import hmac
import os
import re
import secrets
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from toolkit.errors import DamagedError, StudyError
from toolkit.files import read_bytes

DIGITS = 16
MOST_KEY_BYTES = 64 * 1024
E_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
MINUS = "\N{MINUS SIGN}"
IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Characters that are drawn as nothing and are none of format or control (Unicode: Default_Ignorable_Code_Point)."""
WORD = re.compile(r"[^\W_]+")
MOST_WORDS = 12
URL_QUERY = re.compile(r"(?P<address>\b[a-z][a-z0-9+.-]*://[^\s?#\"'<>]*)[?#][^\s\"'<>]*", re.IGNORECASE)


@dataclass(frozen=True, repr=False)
class PseudonymKey:
    """The secret of a study's pseudonyms; only its fingerprint may be shown or stored."""

    secret: bytes
    published: bool
    created: Path | None = None
    join_group: str | None = None

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell two keys apart and reveal neither."""
        return hashlib.sha256(b"lesion-toolkit key fingerprint\0" + self.secret).hexdigest()[:8]

    def of_group(self, join_group: str) -> "PseudonymKey":
        """Return the secret key of a join group: studies of one group can be joined by their pseudonyms, others not."""
        secret = hmac.digest(self.secret, b"lesion-toolkit join group\0" + join_group.encode(), "sha256")
        return replace(self, secret=secret, join_group=join_group)

    def pseudonym(self, kind: str, *identifiers: str) -> str:
        """Return `kind` and 16 hexadecimal digits; `identifiers` must be normalised already."""
        message = "\0".join((kind, *identifiers))
        return f"{kind}-{_digest(self.secret, message)[:DIGITS]}"


@lru_cache(maxsize=10_000)
def _digest(secret: bytes, message: str) -> str:
    started = _started(secret).copy()
    started.update(message.encode())
    return started.hexdigest()


@lru_cache(maxsize=10)
def _started(secret: bytes) -> hmac.HMAC:
    """Return an HMAC that has taken its key and nothing else: to copy, since keying costs more than digesting."""
    return hmac.new(secret, digestmod="sha256")


def normalise(identifier: str | float) -> str:
    """Return an identifier as it is compared: NFKC, lower case, single spaces; 777 and "777" are one.

    Case, width, surrounding spaces, the kind of a dash and what nobody can see are slips of typing; anything else is
    another patient.
    """
    text = as_typed(identifier)
    return text if text.isascii() and text.isprintable() else as_typed(text.translate(Seen()))


def as_typed(identifier: str | float) -> str:
    """Return an identifier as earlier versions compared it: with invisible characters, and each dash another."""
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)
    text = str(identifier)
    if text.isascii():
        return " ".join(text.casefold().split())
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(unicodedata.normalize("NFKC", text).split())


class Seen(dict):
    """What a character is to an eye, for `str.translate`: nothing where it is invisible, a hyphen for every dash."""

    def __missing__(self, code: int) -> str | int | None:
        character = chr(code)
        category = unicodedata.category(character)
        if category == "Pd" or character == MINUS:
            return "-"
        return None if category in ("Cf", "Cc") or IGNORABLE.match(character) else code


def load_key(published_key: str | None, key_file: str | None, *, study_folder: Path, workspace: Path) -> PseudonymKey:
    """Return the study's key: published, from its file, or made anew with mode 0600, never inside the workspace."""
    if published_key is not None:
        return PseudonymKey(published_key.encode(), published=True)
    path = study_folder / key_file if key_file else default_key_file()
    if path.resolve().is_relative_to(workspace.resolve()):
        raise StudyError(
            "the pseudonym key would stand inside the workspace, and be given away with it",
            place=str(path),
            remedy="name a [privacy] key_file outside the workspace",
        )
    try:
        if not os.path.lexists(path):
            return _create(path)
        secret = bytes.fromhex(read_bytes(path, most=MOST_KEY_BYTES).decode("ascii").strip())
    except DamagedError as error:
        raise _unusable(path, error.problem) from None
    except ValueError:
        raise _unusable(path, "it does not hold a number in hexadecimal digits") from None
    if len(secret) < 32:
        raise _unusable(path, "it holds fewer than 32 bytes")
    return PseudonymKey(secret, published=False)


def default_key_file() -> Path:
    """Return where the key stands unless the study names another place: the user's own configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "lesion-toolkit" / "pseudonym.key"


def _create(path: Path) -> PseudonymKey:
    secret = secrets.token_bytes(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
    except OSError as error:
        raise _unusable(path, str(error)) from None
    return PseudonymKey(secret, published=False, created=path)


def _unusable(path: Path, why: str) -> StudyError:
    return StudyError(
        f"the pseudonym key cannot be used: {why}",
        place=str(path),
        remedy="restore the key file from its backup; without it new pseudonyms do not match the old ones",
    )


def without_queries(text: str) -> str:
    """Return a text whose URLs have no query and no fragment: signatures and tokens stand there."""
    return URL_QUERY.sub(r"\g<address>?[removed]", text) if "://" in text else text


def scrub(text: str, *, secrets_in_it: tuple[str, ...] = ()) -> str:
    """Return a text without e-mail addresses, URL queries (where signatures stand) and the given raw identifiers."""
    clean = without_queries(text)
    if "@" in clean:
        clean = E_MAIL.sub("[e-mail removed]", clean)
    for secret in secrets_in_it:
        if len(secret) >= 3 and secret.casefold() in clean.casefold():
            clean = re.sub(re.escape(secret), "[identifier removed]", clean, flags=re.IGNORECASE)
    return clean


def spans(name: str) -> set[str]:
    """Return the words of a file's name and all words in a row, normalised: what may be a patient's identifier."""
    words = list(WORD.finditer(name))[:MOST_WORDS]
    return {normalise(name[a.start() : b.end()]) for start, a in enumerate(words) for b in words[start:]}


def printable(text: str) -> str:
    """Return a text with control and invisible characters as escapes."""
    return "".join(x if x.isprintable() else x.encode("unicode_escape").decode() for x in text)
