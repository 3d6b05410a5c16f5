"""Progress on stderr: a bar in a terminal, a line now and then in a file, nothing when quiet."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from toolkit.console.text import line, plain, stderr
from toolkit.progress import Progress, silent

QUIET_SECONDS = 10
"""Where progress cannot be drawn, a line is written this often."""


@contextmanager
def drawn_progress(*, quiet: bool) -> Generator[Progress]:
    """Give a progress callback that draws on stderr: a bar in a terminal, a line now and then in a file."""
    if quiet:
        yield silent
    elif stderr.is_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=stderr, transient=True) as bar:
            yield _Drawn(bar)
    else:
        yield _Written()


def hide_progress(progress: Progress) -> None:
    """Take the bar off the terminal until progress is reported again, so that a result can be printed."""
    if isinstance(progress, _Drawn):
        progress.bar.stop()


class _Drawn:
    """Draws the current activity as one bar."""

    def __init__(self, bar: Bar) -> None:
        self.bar, self.activity, self.task = bar, "", None

    def __call__(self, activity: str, done: int, total: int | None) -> None:
        self.bar.start()
        if activity != self.activity:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.activity, self.task = activity, self.bar.add_task(plain(activity), total=total)
        if self.task is not None:
            self.bar.update(self.task, completed=done, total=total)


class _Written:
    """Writes a line every few seconds."""

    def __init__(self) -> None:
        self.written_at = time.monotonic()

    def __call__(self, activity: str, done: int, total: int | None) -> None:
        if time.monotonic() - self.written_at >= QUIET_SECONDS:
            self.written_at = time.monotonic()
            stderr.print(line(f"{activity}: {done}{f' of {total}' if total else ''}"))
