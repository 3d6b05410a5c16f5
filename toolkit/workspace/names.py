"""IDs and names as a person types them: in full, as the beginning of an ID, or misspelled."""

import difflib
from collections.abc import Sequence

from toolkit.errors import ToolkitError, WorkspaceError

MOST_CHARACTERS = 80
MOST_NAMED = 20
"""Characters of what was asked, and names, in a message."""
NEAREST = 3


def chosen_id(
    asked: str,
    known: Sequence[str],
    *,
    kind: str,
    place: str,
    remedy: str,
    error: type[ToolkitError] = WorkspaceError,
) -> str:
    """Return the ID that is asked for: in full, or by a beginning that no other known ID has.

    Raises `error` for one that is not known, or the beginning of several; `remedy` is for where there is none yet.
    """
    if asked in known:
        return asked
    begun = [each for each in known if asked and each.startswith(asked.lower())]
    if len(begun) == 1:
        return begun[0]
    if begun:
        problem = f"{len(begun)} {plural(kind)} begin with {shown(asked)}: {listed(begun)}"
        raise error(problem, place=place, remedy="type more of the ID")
    raise unknown(asked, known, kind=kind, place=place, remedy=remedy, error=error)


def unknown(
    asked: str,
    known: Sequence[str],
    *,
    kind: str,
    place: str,
    remedy: str,
    error: type[ToolkitError] = WorkspaceError,
) -> ToolkitError:
    """Return what to tell of a name that is not known: the nearest names, then all; `remedy` where there are none."""
    near = nearest(asked, known)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    there = f"{meant}the {plural(kind)} are: {listed(known)}" if known else remedy
    return error(f"no such {kind}: {shown(asked)}", place=place, remedy=there)


def nearest(asked: str, known: Sequence[str]) -> list[str]:
    """Return the known names that hold one, then those that are most like it, whatever its case.

    >>> nearest("Melanom", ["malignant_melanoma", "melasma", "nevus"])
    ['malignant_melanoma', 'melasma']
    """
    of_folded = {each.casefold(): each for each in known}
    folded = asked[:MOST_CHARACTERS].casefold()
    holding = [each for each in of_folded if folded and folded in each]
    near = [*holding, *difflib.get_close_matches(folded, list(of_folded), n=NEAREST)]
    return [of_folded[each] for each in dict.fromkeys(near)][:NEAREST]


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def shown(asked: str) -> str:
    """Return what was asked, not too much of it."""
    return asked if len(asked) <= MOST_CHARACTERS else f"{asked[:MOST_CHARACTERS]}…"


def plural(kind: str) -> str:
    """Return the plural of a noun.

    >>> plural("run"), plural("class")
    ('runs', 'classes')
    """
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"
