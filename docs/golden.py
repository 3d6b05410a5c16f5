"""Renders the pictures of README and docs from a finished demo: the page, the terminal, a contact sheet.

`make golden` runs it after `make demo`; look at the pictures before committing them.
"""

import io
import re
import shutil
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright

from toolkit.cases import Box
from toolkit.console import show_scores
from toolkit.console.text import stdout
from toolkit.images import case_pixels
from toolkit.registry import Workspace
from toolkit.runs import find_run

PICTURES = Path(__file__).parent / "images"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ACROSS, SIDE, HEADING = 6, 150, 22


def main() -> None:
    """Render every picture from the workspace named on the command line."""
    workspace = Workspace(Path(sys.argv[1]))
    run_id = find_run(workspace, "latest")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "terminal.svg").write_text(terminal(workspace, run_id), encoding="utf-8")
    page(workspace.reports / run_id / "index.html").save(PICTURES / "report.webp", quality=85, method=6)
    contact_sheet(workspace).save(PICTURES / "contact_sheet.webp", quality=80, method=6)


def terminal(workspace: Workspace, run_id: str) -> str:
    """Record the scores as the terminal shows them; without the web fonts that rich would fetch."""
    stdout.record, stdout.width, stdout.file = True, 80, io.StringIO()
    show_scores(workspace, run_id)
    svg = stdout.export_svg(title="make demo", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def page(path: Path) -> Image.Image:
    """Photograph the page's first screen."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES)
        tab = browser.new_context(offline=True, viewport={"width": 1120, "height": 900}).new_page()
        tab.goto(path.resolve().as_uri())
        picture = Image.open(io.BytesIO(tab.screenshot()))
        browser.close()
    return picture.convert("RGB")


def contact_sheet(workspace: Workspace) -> Image.Image:
    """Lay out six crops of each class, from the training part, under the class's name."""
    rows = workspace.rows(
        "select class_name, path, roi_left, roi_top, roi_width, roi_height from splits "
        "inner join cases using (case_id) inner join images using (image_id) "
        "where part = 'train' and roi_width is not null order by class_name, case_id"
    )
    classes = sorted({row["class_name"] for row in rows})
    sheet = Image.new("RGB", (ACROSS * SIDE, len(classes) * (SIDE + HEADING)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for line, name in enumerate(classes):
        top = line * (SIDE + HEADING)
        pen.text((4, top + 2), name.replace("_", " "), fill="black", font=font)
        for column, row in enumerate([row for row in rows if row["class_name"] == name][:ACROSS]):
            box = Box(*(row[side] for side in ("roi_left", "roi_top", "roi_width", "roi_height")))
            crop = Image.fromarray(case_pixels(Path(row["path"]), box, margin=0.3, size=SIDE - 4))
            sheet.paste(crop, (column * SIDE + 2, top + HEADING))
    return sheet


if __name__ == "__main__":
    main()
