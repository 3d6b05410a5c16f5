"""The rows of an export's file, not decoded: one per line, or the objects of JSON documents.

Memory holds a few of the longest rows at most. After damage in a document, the next row is the next object that starts
with a known key: a fault costs its own row only.
"""

import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from toolkit.files import unreadable
from toolkit.workspace.landed import BOM, opened

FIRST_KEYS = (
    *("data_row", "media_attributes", "attachments", "metadata_fields", "embeddings", "projects", "experiments"),
    *("ID", "DataRow ID", "Labeled Data"),
)
"""With which a row may begin, and nothing inside it does; the legacy form's stand in the second line."""
CHUNK = 256 * 1024
"""Bytes of a document read at a time."""
OVERLAP = 256
"""Characters looked at again when more has been read: no start of a row is longer."""

START = re.compile(r'\{\s*"(?:' + "|".join(map(re.escape, FIRST_KEYS)) + r')"\s*:')
BETWEEN = re.compile(r"[\s,\[\]]*")
GOES_ON = re.compile(r'\s*,?\s*["}:]|[ \t\r]*[^\s,{\[\]]')
"""What follows an object that ended too early; other text stands on a line of its own."""
ARRAY = re.compile(r"\s*\[\s*(?:[{\]]|$)")
PRETTY = re.compile(r"\s*\{[ \t\r]*\n\s*\"")
REST_OF_LINE = re.compile(r"[ \t\r]*(?:\n|$)")
BROKEN = (EOFError, OSError, zlib.error)

whole_value = json.JSONDecoder().raw_decode


class RawRow(NamedTuple):
    """A row of an export, not decoded: its place among the rows, and where it begins."""

    row: int
    """From 1."""
    number: int
    """The line it begins on, from 1."""
    offset: int
    """The byte it begins at, from 0, in the unpacked file."""
    content: bytes | None
    """None where it is longer than allowed."""


def raw_rows(export: Path, *, longest: int) -> Iterator[RawRow]:
    """Yield the rows of an export's file, split on newlines only unless it is a document.

    A damaged archive ends with one row that is no JSON, so that what follows the damage is counted as missing.
    """
    last = RawRow(0, 0, 0, None)
    try:
        with opened(export) as file:
            rows = _in_documents if _is_document(_head(file, longest)) else _one_a_line
            file.seek(0)
            for last in rows(file, longest):
                yield last
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:  # the disk, not the archive
            raise unreadable(export, error) from None
        if export.suffix != ".gz":
            raise
        yield RawRow(last.row + 1, last.number + 1, last.offset, f"the archive is damaged: {error}".encode())


def _head(file: BufferedReader, size: int) -> str:
    """Return the start of a file, as far as it can be read."""
    head = b""
    try:
        while len(head) < size and (piece := file.read1(CHUNK)):
            head += piece
    except BROKEN:
        pass
    return head.removeprefix(BOM).decode("latin-1")


def _is_document(head: str) -> bool:
    """Tell a document from a file of one row a line: its first row goes on on the next line, or stands in an array.

    Where the first row is damaged, one of the next few tells.
    """
    if ARRAY.match(head):
        return True
    first = len(head) - len(head.lstrip())
    for start in (first, *(match.start() for match in islice(START.finditer(head), 5))):
        try:
            row, end = whole_value(head, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            return "\n" in head[start:end] or not REST_OF_LINE.match(head, end)
    return bool(PRETTY.match(head))


def _one_a_line(file: BufferedReader, longest: int) -> Iterator[RawRow]:
    row = number = offset = 0
    while content := file.readline(longest + 1):
        number += 1
        begins, offset = offset, offset + len(content)
        if number == 1 and content.startswith(BOM):
            begins, content = len(BOM), content.removeprefix(BOM)
        if len(content) > longest:
            offset += _skip_rest(file, content, longest)
            row += 1
            yield RawRow(row, number, begins, None)
        elif stripped := content.strip():
            row += 1
            yield RawRow(row, number, begins + len(content) - len(content.lstrip()), stripped)


def _skip_rest(file: BufferedReader, content: bytes, longest: int) -> int:
    skipped = 0
    while content and not content.endswith(b"\n"):
        content = file.readline(longest)
        skipped += len(content)
    return skipped


def _in_documents(file: BufferedReader, longest: int) -> Iterator[RawRow]:
    window = _Window(file, longest)
    row = 0
    while window.next_row():
        row += 1
        number, offset = window.number, window.offset
        yield RawRow(row, number, offset, window.take())


class _Window:
    """The stretch of a document that is looked at, as Latin-1 so that a character is a byte."""

    def __init__(self, file: BufferedReader, longest: int) -> None:
        self.file, self.longest = file, longest
        self.text, self.at = "", 0
        self.number, self.offset = 1, 0
        self.more()
        if self.text.startswith(BOM.decode("latin-1")):
            self.advance(len(BOM))

    def more(self) -> bool:
        """Read on; tell whether there was anything. What was read before an archive breaks is kept."""
        wanted = len(self.text) + max(CHUNK, len(self.text) - self.at)
        before = len(self.text)
        while len(self.text) < wanted and (piece := self.file.read1(CHUNK)):
            self.text += piece.decode("latin-1")
        return len(self.text) > before

    def advance(self, to: int) -> None:
        """Go on to a place in the text, and let go of what lies behind."""
        self.number += self.text.count("\n", self.at, to)
        self.offset += to - self.at
        self.at = to
        if self.at > CHUNK:
            self.text, self.at = self.text[self.at :], 0

    def next_row(self) -> bool:
        """Skip what stands between rows; tell whether there is another."""
        while True:
            between = BETWEEN.match(self.text, self.at)
            self.advance(between.end() if between else self.at)
            if self.at < len(self.text):
                return True
            if not self.more():
                return False

    def take(self) -> bytes | None:
        """Return the row that begins here, or the bytes up to the next one where it is damaged."""
        end = self.end_of_row()
        if end is None:
            return self.take_damaged()
        content = self.text[self.at : end].encode("latin-1")
        self.advance(end)
        return content

    def end_of_row(self) -> int | None:
        """Return where the grammar of JSON ends the object that begins here; None where it is damaged or too long."""
        if self.text[self.at] != "{":
            return None
        while True:
            try:
                _, end = whole_value(self.text, self.at)
                break
            except RecursionError:
                return None
            except ValueError:
                if len(self.text) - self.at > self.longest or not self.more():
                    return None
        if len(self.text) - end < OVERLAP:
            with suppress(*BROKEN):  # raised again when the next row is read
                self.more()
        too_long = end - self.at > self.longest
        return None if too_long or GOES_ON.match(self.text, end) else end

    def take_damaged(self) -> bytes | None:
        """Go on to the next start of a row; return what was skipped unless it is longer than allowed."""
        begins, searched, too_long = self.at, self.at + 1, False
        while not (match := START.search(self.text, searched)):
            searched = max(searched, len(self.text) - OVERLAP)
            if len(self.text) - begins > self.longest:
                too_long = True
                self.advance(searched)
                begins = searched = self.at
            if not self.more():
                break
        end = match.start() if match else len(self.text)
        too_long = too_long or end - begins > self.longest
        content = None if too_long else self.text[begins:end].rstrip(" \t\r\n,[").encode("latin-1")
        self.advance(end)
        return content
