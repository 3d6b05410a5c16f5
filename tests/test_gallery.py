"""What the page does in a real browser, by clicks and keys, without a network."""

import os
from pathlib import Path

import browser
import pytest
from playwright.sync_api import sync_playwright
from registries import HOSTILE, a_registry, a_study

from toolkit import csv_files
from toolkit.stages.evaluate import evaluate
from toolkit.stages.report import report
from toolkit.workspace.registry import insert

ERRORS = ["0007", "0003", "0008", "0004", "0006", "0009", "0011"]
CONTRAST = """() => {
  const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== "transparent") return colour.startsWith("color(") ? null : colour;
    }
    return "rgb(255, 255, 255)";
  };
  const poor = [];
  for (const e of document.querySelectorAll("p, th, td, a, button, label, summary, h1, h2, h3, span, option, dd, li")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(".over, :disabled")) continue;
    const back = behind(e);
    if (!back) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(back)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${e.tagName} ${e.className}: ${e.textContent.trim().slice(0, 30)}`);
  }
  return poor;
}"""
NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, img, [role=region]")].filter((e) => {
  const labels = e.labels ? [...e.labels].map((label) => label.textContent) : [];
  const named = [e.getAttribute("aria-label"), e.alt, e.textContent, ...labels];
  return e.checkVisibility() && !named.some((text) => text && text.trim());
}).map((e) => e.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """The page of a small run whose every text is hostile, its groups and findings too."""
    study = a_study()
    study = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"groups": ["site"]})})
    workspace = a_registry(tmp_path_factory.mktemp("gallery"), study)
    with workspace.writing() as connection:
        import pyarrow as pa

        names = [f"image-{number}" for number in range(12)]
        rows = {"image_id": names, "name": ["site"] * 12, "value": [f"=cmd|' {HOSTILE}"] * 6 + ["arm"] * 6}
        insert(connection, "metadata", pa.table(rows))
    evaluate(workspace, study)
    return Path(report(workspace, study).page)


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        found = browser.launched(playwright)
        if found is None:
            say = pytest.fail if os.environ.get("LESION_TOOLKIT_NEED_BROWSER") else pytest.skip
            say(f"no browser ({browser.HOW_TO_HAVE_ONE})")
        yield found
        found.close()


@pytest.fixture(scope="module")
def opened(chromium, page_file):
    """The page in a browser, loaded once, with all that it said on the console and asked for."""
    context = chromium.new_context(offline=True, viewport={"width": 1120, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("dialog", lambda dialog: (page.said.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()


@pytest.fixture
def page(opened, page_file):
    """The page with nothing chosen; afterwards it has said nothing, and asked for nothing but itself."""
    opened.set_viewport_size({"width": 1120, "height": 900})
    opened.evaluate("address.choose(Object.fromEntries(address.keys.map((key) => [key, ''])))")
    yield opened

    assert [] == opened.said
    assert {page_file.as_uri()} == {url.partition("#")[0] for url in opened.asked if not url.startswith("data:")}


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#cards .case", "cards => cards.map(card => card.dataset.case)")


def test_the_first_screen_needs_no_scrolling(page):
    assert ERRORS == shown(page)
    assert 900 >= page.evaluate("document.querySelector('nav').getBoundingClientRect().bottom")


def test_a_cell_shows_exactly_its_cases_and_its_address_brings_them_back(page):
    page.click("button.cell[data-part=test][data-truth=malignant_melanoma][data-predicted=nevus]")

    assert ["0007", "0008", "0006"] == shown(page)
    assert "#part=test&truth=malignant_melanoma&predicted=nevus" == page.evaluate("location.hash")
    assert "3 cases / 2 patients: test set, reference diagnosis malignant melanoma, predicted nevus" == page.inner_text(
        "#showing"
    )

    page.reload()

    assert ["0007", "0008", "0006"] == shown(page)

    page.go_back()

    assert ERRORS == shown(page)


def test_right_predictions_are_shown_too(page):
    page.click("button.cell[data-part=test][data-truth=malignant_melanoma][data-predicted=malignant_melanoma]")

    assert ["0005"] == shown(page)

    page.click("#everything")
    page.select_option("select[name=outcome]", "all")

    assert 12 == len(shown(page))


def test_an_edge_of_the_matrix_says_what_was_predicted_instead(page):
    page.click("button.head[data-part=test][data-truth=nevus]")

    assert ["0003", "0004"] == shown(page)
    assert "predicted instead: malignant melanoma 2" in page.inner_text("#showing")


def test_filters_combine(page):
    page.select_option("select[name=part]", "test")
    page.select_option("select[name=predicted]", "nevus")
    page.fill("input[name=from]", "0.6")
    page.fill("input[name=text]", "melanoma p-6")

    assert ["0008"] == shown(page)

    page.fill("input[name=text]", "")
    groups = [text.strip() for text in page.locator("select[name=group] option").all_inner_texts()]
    of_group = {}
    for group in groups[1:]:
        page.select_option("select[name=group]", label=group)
        of_group[group] = shown(page)

    assert {"site arm (2)": ["0007", "0008"], f"site =cmd|' {HOSTILE} (0)": []} == of_group
    assert "group=" in page.evaluate("location.hash")


def test_cases_are_ordered_by_cost_by_doubt_and_by_patient(page):
    page.select_option("select[name=part]", "test")
    page.select_option("select[name=sort]", "cost")
    most_harmful = shown(page)
    page.select_option("select[name=sort]", "unsure")

    assert ["0007", "0008", "0006", "0003", "0004"] == most_harmful
    assert ["0006", "0004", "0008", "0003", "0007"] == shown(page)


def test_ticked_cases_are_saved_as_csv(page):
    page.check("#cards .case[data-case='0007'] input")
    page.check("#cards .case[data-case='0003'] input")
    with page.expect_download() as waiting:
        page.click("#take")
    text = Path(waiting.value.path()).read_bytes().decode()
    rows = csv_files.rows_of(text)
    page.click("#only")

    assert text.startswith(csv_files.MARK)
    assert "'0007" in text

    assert ["0007", "0003"] == [row["case_id"] for row in rows]
    assert {"case_id", "image_id", "part", "truth", "predicted", "confidence"} == set(rows[0])
    assert "0.95" == rows[0]["confidence"]
    assert ["0007", "0003"] == shown(page)

    page.click("#untick")

    assert not page.is_visible("#tray")


def test_everything_can_be_done_from_the_keyboard(page):
    page.focus("button.part[data-part=validation]")
    page.keyboard.press("Enter")
    page.focus("button.cell[data-part=validation][data-truth=keratosis][data-predicted=nevus]")
    page.keyboard.press("Space")

    assert ["0011"] == shown(page)
    assert not page.is_visible(".matrix[data-part=test]")

    page.focus("select[name=truth]")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.name"))

    assert ["predicted", "group", "finding", "from"] == order

    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("h")

    assert 0 == page.locator(".photo img").filter(visible=True).count()
    assert "Show photographs (h)" == page.inner_text("#hide")


def test_a_query_can_be_looked_at_and_copied(page):
    page.click(".headlines li:first-child .sql summary")

    assert "select" in page.inner_text(".headlines li:first-child .sql pre")
    assert page.is_visible(".headlines li:first-child .sql button")

    page.click(".headlines li:first-child .sql summary")


def test_the_matrix_shows_shares_and_errors_only(page):
    page.click("button.look-at[data-key=matrix]")
    page.click("button.look-at[data-key=diagonal]")

    assert "0.750" == page.inner_text(
        "button.cell[data-part=test][data-truth=malignant_melanoma][data-predicted=nevus]"
    )
    assert "matrix=shares&diagonal=hidden" in page.evaluate("location.hash")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_and_every_control_has_a_name(page, scheme):
    page.emulate_media(color_scheme=scheme)

    assert [] == page.evaluate(CONTRAST)
    assert [] == page.evaluate(NAMELESS)

    page.emulate_media(color_scheme="light")


def test_a_narrow_screen_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 390, "height": 844})

    assert 390 == page.evaluate("document.documentElement.scrollWidth")


def test_print_has_no_controls_and_leaves_the_gallery_out(page):
    page.emulate_media(media="print")

    assert page.is_visible(".confusion >> nth=0")
    assert not page.is_visible("#gallery")
    assert not page.is_visible("nav")

    page.emulate_media(media="screen")


def test_hostile_texts_stand_on_the_cards_as_they_are(page):
    page.select_option("select[name=outcome]", "all")

    assert HOSTILE in page.inner_text("#cards")
    assert 0 == page.locator("#cards img[src='x']").count()
