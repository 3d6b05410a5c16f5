"""The words that go to Labelbox, for annotators: without pseudonyms, and without what the study's models are."""

import re

from toolkit.privacy import scrub

PSEUDONYM = re.compile(r"\b[a-z]{1,2}-[0-9a-f]{16}\b", re.IGNORECASE)
PATH = re.compile(r"(?<![\w/])(?:[A-Za-z]:)?(?:[\\/][\w. +@-]+){2,}")
LONGEST = 1_000


def for_annotators(text: str, hidden: tuple[str, ...]) -> str:
    """Return a text in one line for people at Labelbox.

    Taken out are pseudonyms, e-mail addresses, queries of URLs, paths of files, and the texts of `hidden` (IDs of cases
    and runs, names of models).
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = PATH.sub("[removed]", PSEUDONYM.sub("[removed]", scrub(line)))
    for word in sorted(filter(None, hidden), key=len, reverse=True):
        line = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "[removed]", line, flags=re.IGNORECASE)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
