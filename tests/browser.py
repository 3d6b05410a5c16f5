"""The browser that the tests of the page run in: Playwright's own, else the system's Chromium.

As a program it downloads Playwright's own where no browser is found; `make test` does that once. It never fails.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

SWITCHES = [
    "--no-sandbox",
    "--no-first-run",
    *(f"--disable-{name}" for name in ("gpu", "quic", "background-networking", "component-update", "sync")),
]
HOW_TO_HAVE_ONE = ".venv/bin/python -m playwright install --with-deps chromium, or apt-get install chromium"
SECONDS = 180
"""What a download may take: behind a firewall that answers nothing, nobody waits longer."""


def launched(playwright: Playwright) -> Browser | None:
    """Return a running browser, or None where there is none that starts."""
    for path in (None, Path("/usr/bin/chromium"), shutil.which("chromium")):
        if path is None or Path(path).exists():
            try:
                return playwright.chromium.launch(executable_path=path, args=SWITCHES)
            except Error:  # not downloaded, or without the system's libraries
                continue
    return None


def download() -> bool:
    """Download Playwright's own browser without a word, and tell whether that worked."""
    patience = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "5000"}
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    with subprocess.Popen(
        command,
        env={**os.environ, **patience},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            return process.wait(SECONDS) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and what it started
            return False


def main() -> None:
    """Have a browser if that is possible."""
    with sync_playwright() as playwright:
        found = launched(playwright)
        if found is not None:
            found.close()
            return
    if not download():
        print(f"no browser could be downloaded; the tests of the page will be skipped. To have one: {HOW_TO_HAVE_ONE}")


if __name__ == "__main__":
    main()
