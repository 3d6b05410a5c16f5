"""Control characters in a row: one rule for every text of it, key or value, wherever it stands.

NUL ends a text in C, ESC speaks to a terminal, others are not seen: two identifiers would look like one. Tab, line
feed, carriage return and next line (U+0085) are white space and may stand; a row with any other is not stored.
"""

import re
from typing import Any, NamedTuple

from toolkit.labelbox_json.keys import is_named_freely

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
ESCAPED = (b"\\u00", b"\\b", b"\\f")
"""How JSON writes most of those of ASCII; most rows hold no backslash at all."""
BEYOND_ASCII = re.compile(rb"\xc2[\x80-\x84\x86-\x9f]")


class ControlCharacter(NamedTuple):
    """A control character and the path of the key that it stands under, or in."""

    path: str
    character: str


def may_hold_one(content: bytes) -> bool:
    """Tell whether a row, as JSON, may hold a control character; certain is only that it does not."""
    if b"\\" in content and any(map(content.__contains__, ESCAPED)):
        return True
    return b"\x7f" in content or not (content.isascii() or BEYOND_ASCII.search(content) is None)


def find(raw: Any) -> ControlCharacter | None:
    """Return the first control character of decoded JSON; names of somebody's choice in its path are `*`."""
    waiting: list[tuple[str, Any, bool]] = [("", raw, False)]
    found = []
    while waiting:
        path, value, free = waiting.pop()
        if isinstance(value, str) and (match := CONTROL.search(value)):
            found.append(ControlCharacter(path or "row", match[0]))
        elif isinstance(value, list):
            waiting += [(path, item, free) for item in value]
        elif isinstance(value, dict):
            for name, inner in value.items():
                if match := CONTROL.search(name):
                    found.append(ControlCharacter(f"a key of {path or 'the row'}", match[0]))
                step = "*" if free or CONTROL.search(name) else name
                below = f"{path}.{step}" if path else step
                waiting.append((below, inner, not free and is_named_freely(name, inner)))
    return min(found, default=None)
