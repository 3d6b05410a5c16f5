"""Checks that code, pages and docs use the standard terms, and that the docs name only files that exist."""

import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
MOST_ENTRIES, MOST_REPEATED_CLASSES = 30, 10
NEVER_REPEATED = {"Key", "Wish", "Shown", "Facts", "Line", "Found", "Known", "State"}
FILE = re.compile(r"`(?!\S*(?:NAME|NNN))((?:toolkit|sql|tests|docs|reports/template)/[\w./-]+)`")
LINK = re.compile(r"\]\(([^)#:]+)")
FORMULAS = ("Knows ", "Refuses ")
APPLIED = ("001_registry.sql", "002_results.sql", "verify.sql")  # SQL whose bytes workspaces record
IDENTIFIERS = {
    **dict.fromkeys(("wish", "allotment", "allot", "tally"), "SplitTarget, StratifiedSplit, GroupCounts; PullRequest"),
    **dict.fromkeys(("stones", "bury", "sieve"), "withdrawn, suppression_list, filter_export"),
    **dict.fromkeys(("lesson", "learner"), "TrainingJob, TrainableModel"),
    "luck": "rng",
}
PHRASES = {
    r"(?<![\w.])n\.s\.": "suppressed",
    r"\bdrawn (study|sample|cohort|patients?|lesions?|photographs?|nevi|nevus)\b|\bsynthetic drawn\b": "synthetic",
    r"\bthat shows? the same\b|\bphotographs shows? the same\b|\bthere twice\b": "duplicate, near-duplicate",
    r"\bis the whole (first|second|other)\b|\bcut to [\w{}]+\W?% of it\b": "is an 81 % crop of",
    r"\bsurest errors\b": "most confident errors",
    r"\bdearest errors\b": "most harmful errors",
    r"\b(can|cannot|not) vouch\b|\bvouch(es|ed)? for\b": "too few patients to confirm, or: confirm",
    r"\b(all|everyone|nothing) called\b|\bcalling everyone\b": "treat all, flagged, treat none",
    r"\bfound without a miss\b": "in 31 of 33 patients every malignant lesion was detected",
    r"\bcame true\b": "observed frequency",
    r"\bmean said\b|\bwhat was said\b": "mean predicted probability",
    r"\bas said, so it came\b": "perfect calibration",
    r"\bafter less before\b": "after minus before",
    r"\bnothing is nearer\b|\bno split( at all)? is nearer\b": "optimal: no other split is closer to the target",
    r"\bscored so far\b": "test set evaluated N times",
    r"\bfitzpatrick \d": "Fitzpatrick skin type IV",
    r"\btoo few\b(?! for\b| patients to\b| cases (to\b|or patients))": "few patients: a sign that the table explains",
    r">how<|“how”|\*how\*": "SQL",
    r"\bmix-ups?\b": "most frequent confusions",
}


class Hit(NamedTuple):
    """A place where a word or a rule is broken, and what to write instead."""

    place: str
    words: str
    instead: str


def _python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def identifiers() -> Iterator[Hit]:
    """Find retired words in identifiers: each word of a name counts."""
    for path in _python_files("toolkit", "tests"):
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type == tokenize.NAME:
                words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", token.string)}
                for word in words & set(IDENTIFIERS):
                    yield Hit(f"{path.relative_to(ROOT)}:{token.start[0]}", token.string, IDENTIFIERS[word])


def docstrings() -> Iterator[Hit]:
    """Find docstrings of which a paragraph begins with a formula."""
    for path in _python_files("toolkit", "tests", "docs"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                    if paragraph.startswith(FORMULAS):
                        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"
                        yield Hit(place, paragraph[:30], "say in one plain sentence what is in it")


def classes() -> Iterator[Hit]:
    """Find class names that stand in more than one place."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in _python_files("toolkit")]
    counts = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    repeated = sorted(name for name, times in counts.items() if times > 1)
    for name in NEVER_REPEATED & set(repeated):
        yield Hit("toolkit", f"class {name}, {counts[name]} times", "one class, one name")
    if len(repeated) > MOST_REPEATED_CLASSES:
        yield Hit("toolkit", f"{len(repeated)} repeated class names: {', '.join(repeated)}", "one class, one name")


def texts() -> Iterator[tuple[str, int, str]]:
    """Give what people read as (file, first line, text), with code spans blanked in Markdown and docstrings."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "reports" / "template").iterdir()]
    for path in sorted([*pages, *(ROOT / "sql").glob("*.toml")]):
        text = path.read_text(encoding="utf-8")
        yield str(path.relative_to(ROOT)), 1, _blanked(text) if path.suffix == ".md" else text
    for path in sorted((ROOT / "sql").rglob("*.sql")):
        if path.name not in APPLIED:
            yield str(path.relative_to(ROOT)), 1, path.read_text(encoding="utf-8")
    for path in _python_files("toolkit"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield str(path.relative_to(ROOT)), node.lineno, _blanked(node.value)


def _blanked(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]+`", lambda span: re.sub(r"[^\n]", " ", span.group()), text, flags=re.DOTALL)


def phrases() -> Iterator[Hit]:
    """Find phrases that have a standard term."""
    patterns = {re.compile(p.replace(" ", r"\s+"), re.IGNORECASE): term for p, term in PHRASES.items()}
    for name, first, text in texts():
        for pattern, term in patterns.items():
            for match in pattern.finditer(text):
                line = first + text.count("\n", 0, match.start())
                yield Hit(f"{name}:{line}", " ".join(match.group().split()), term)


def files() -> Iterator[Hit]:
    """Find files that the docs name or link to and that do not exist."""
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            paths = [ROOT / name for name in FILE.findall(line)] + [page.parent / name for name in LINK.findall(line)]
            for path in {path for path in paths if not path.exists()}:
                yield Hit(f"{page.relative_to(ROOT)}:{number}", str(path), "no such file")


def entries() -> Iterator[Hit]:
    """Count what stands directly under toolkit/."""
    number = sum(path.name != "__pycache__" for path in (ROOT / "toolkit").iterdir())
    if number > MOST_ENTRIES:
        yield Hit("toolkit", f"{number} entries", f"at most {MOST_ENTRIES}")


def main() -> None:
    """Print every hit; exit 1 where there is one."""
    hits = {hit for find in (identifiers, docstrings, classes, phrases, files, entries) for hit in find()}
    for hit in sorted(hits):
        sys.stdout.write(f"{hit.place}: {hit.words!r} → {hit.instead}\n")
    sys.exit(f"{len(hits)} places to put right (docs/check_language.py)" if hits else 0)


if __name__ == "__main__":
    main()
