"""What the page does in a real browser, by clicks and keys, without a network."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from registries import HOSTILE, a_registry, a_study, photograph

from toolkit import csv_files
from toolkit.stages.evaluate import evaluate
from toolkit.stages.report import report
from toolkit.workspace.registry import insert

SELECTED = "3 cases / 2 patients: test set, reference diagnosis malignant melanoma, predicted nevus"
ERRORS = ["0007", "0008", "0006", "0003", "0004"]
"""Of the test set: missed melanomas first, of each harm the more confident first."""
SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}


def larger(folder: Path, number: int) -> Path:
    """Give a case a photograph that has more pixels than its thumbnail."""
    path = photograph(folder, number)
    if number not in (4, 6):
        with Image.open(path) as small:
            small.resize((640, 480)).save(path)
    return path


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """The page of a small run whose every text is hostile, its groups and findings too."""
    study = a_study()
    study = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"groups": ["site"]})})
    workspace = a_registry(tmp_path_factory.mktemp("gallery"), study, photographs=larger)
    with workspace.writing() as connection:
        import pyarrow as pa

        names = [f"image-{number}" for number in range(12)]
        rows = {"image_id": names, "name": ["site"] * 12, "value": [f"=cmd|' {HOSTILE}"] * 6 + ["arm"] * 6}
        insert(connection, "metadata", pa.table(rows))
        evidence = {"case_id": ["0007"], "class_name": ["malignant_melanoma"], "suggested_class": ["nevus"]}
        evidence |= {"suggested_probability": [0.6], "score": [0.625], "listed": [True], "reasons": [f"so {HOSTILE}"]}
        insert(connection, "label_evidence", pa.table(evidence))
        project = {"image_id": ["image-7"], "project_id": ["project-1"], "project": ["small"], "in_study": [True]}
        insert(connection, "projects", pa.table(project))
    evaluate(workspace, study)
    return Path(report(workspace, study).page)


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
    asked = {url.partition("#")[0] for url in opened.asked if not url.startswith("data:")}
    beside = {path.as_uri() for path in page_file.parent.glob("photographs/*.jpg")}
    assert asked <= {page_file.as_uri()} | beside


def shown(page) -> list[str]:
    return page.eval_on_selector_all("#cards .case", "cards => cards.map(card => card.dataset.case)")


def test_the_first_screen_needs_no_scrolling(page):
    assert ERRORS == shown(page)
    assert 900 >= page.evaluate("document.querySelector('.checks').getBoundingClientRect().bottom")


def test_a_cell_shows_exactly_its_cases_and_its_address_brings_them_back(page):
    page.click("button.cell[data-part=test][data-truth=malignant_melanoma][data-predicted=nevus]")

    assert ["0007", "0008", "0006"] == shown(page)
    assert "#part=test&truth=malignant_melanoma&predicted=nevus" == page.evaluate("location.hash")
    assert SELECTED == page.inner_text("#showing")

    page.reload()

    assert ["0007", "0008", "0006"] == shown(page)

    page.go_back()

    assert ERRORS == shown(page)


def test_right_predictions_are_shown_too(page):
    page.click("button.cell[data-part=test][data-truth=malignant_melanoma][data-predicted=malignant_melanoma]")

    assert ["0005"] == shown(page)

    page.click("#everything")
    page.select_option("select[name=outcome]", "all")
    page.select_option("select[name=part]", "all")

    assert "12 cases / 10 patients: all" == page.inner_text("#showing")
    assert 8 == len(shown(page))

    page.click("#after")

    assert 4 == len(shown(page))


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
    page.select_option("select[name=sort]", "confident")
    most_confident = shown(page)
    page.select_option("select[name=sort]", "unsure")

    assert ["0007", "0003", "0008", "0004", "0006"] == most_confident
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


def test_the_first_screen_shows_the_missed_and_opens_them(page):
    missed = page.locator(".missed button")

    assert 3 == missed.count()
    assert "Enlarge case 0007: malignant melanoma, predicted nevus" == missed.first.get_attribute("aria-label")

    missed.nth(1).click()

    assert "Case 0008" == page.inner_text("#enlarged .title")
    assert "2 of 3" == page.inner_text("#enlarged .place")
    assert "#part=test&truth=malignant_melanoma&outcome=wrong&case=0008" == page.evaluate("location.hash")

    page.keyboard.press("Escape")

    page.wait_for_function("() => !location.hash.includes('case=')")

    assert not page.is_visible("#enlarged")
    assert ["0007", "0008", "0006"] == shown(page)


def test_a_card_is_enlarged_by_the_keyboard_and_arrows_go_through_the_selection(page):
    page.focus("#cards .case[data-case='0007'] button.enlarge")
    page.keyboard.press("Enter")
    told = page.inner_text("#enlarged .facts")
    page.wait_for_function("() => document.querySelector('#enlarged img').naturalWidth > 0")

    assert 640 == page.evaluate("document.querySelector('#enlarged img').naturalWidth")
    assert page.is_visible("#enlarged svg rect.outline")
    assert "malignant melanoma by somebody who is not recorded" in told
    assert "1 of 1 reading gave the reference diagnosis (single reading)." in told
    assert f"The label may be wrong: perhaps nevus. Probability that it is wrong: 0.625. So {HOSTILE}." in told
    assert "https://app.labelbox.com/projects/project-1/data-rows/image-7" == page.get_attribute(
        "#enlarged .facts a", "href"
    )

    page.keyboard.press("r")

    assert not page.is_visible("#enlarged svg rect.outline")

    page.keyboard.press("w")

    # 20 by 16 pixels of ROI, in the larger photograph, with its margin
    assert "the lesion" == page.get_attribute("#enlarged img", "alt")

    page.keyboard.press("r")
    page.keyboard.press("ArrowRight")

    assert "Case 0008" == page.inner_text("#enlarged .title")

    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")

    assert "Case 0007" == page.inner_text("#enlarged .title")

    page.keyboard.press("Escape")

    page.wait_for_function("() => document.activeElement.dataset.open === '0007'")


def test_photographs_are_hidden_in_the_enlarged_view_too(page):
    page.click("#hide")
    page.click("#cards .case[data-case='0007'] button.enlarge")

    assert "hidden" == page.evaluate("getComputedStyle(document.querySelector('#enlarged img')).visibility")

    page.keyboard.press("Escape")


def test_a_page_without_its_folder_enlarges_the_thumbnail_and_says_so(chromium, page_file, tmp_path):
    alone = tmp_path / "mailed.html"
    alone.write_bytes(page_file.read_bytes())
    tab = chromium.new_page()
    tab.goto(f"{alone.as_uri()}#case=0007")
    tab.wait_for_function("() => document.querySelector('#enlarged img').naturalWidth > 0")

    assert 224 == tab.evaluate("document.querySelector('#enlarged img').naturalWidth")
    assert "is not beside this page: this is the thumbnail" in tab.inner_text("#enlarged .pictures")

    tab.close()


def test_a_mailed_link_opens_at_its_selection_and_says_what_is_selected(chromium, page_file):
    tab = chromium.new_page(viewport=SIZES["wide"])
    tab.goto(f"{page_file.as_uri()}#part=test&truth=malignant_melanoma&predicted=nevus")

    assert ["0007", "0008", "0006"] == shown(tab)
    assert SELECTED == tab.inner_text("#showing")
    assert 900 > tab.evaluate("document.querySelector('#showing').getBoundingClientRect().top") > 0

    tab.close()


def test_a_selection_is_kept_by_name(page):
    page.select_option("select[name=predicted]", "nevus")
    page.click("#saved summary")
    page.fill("#saved input", f"missed {HOSTILE}")
    page.keyboard.press("Enter")
    page.click("#everything")

    assert ERRORS == shown(page)

    page.reload()
    page.click("#saved summary")

    assert f"missed {HOSTILE}" == page.inner_text("#saved li a")

    page.click("#saved li a")

    assert ["0007", "0008", "0006"] == shown(page)

    page.click("#saved li button")

    assert 0 == page.locator("#saved li").count()


def test_the_matrix_is_one_stop_and_its_arrow_keys_lead_to_photographs(page):
    table = ".matrix[data-part=test] table.confusion"
    stops = page.locator(f"{table} button").evaluate_all("all => all.filter((one) => one.tabIndex === 0).length")
    page.focus(f"{table} button[data-truth=nevus][data-predicted=nevus]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")

    assert 1 == stops
    assert "reference diagnosis nevus, predicted malignant melanoma" in page.inner_text("#showing")
    assert "showing" == page.evaluate("document.activeElement.id")


def test_a_chart_reads_out_its_values_to_pointer_and_keyboard(page):
    page.focus("figure.roc [data-readout]")
    page.keyboard.press("ArrowRight")
    first = page.inner_text("figure.roc .readout")
    page.keyboard.press("ArrowDown")

    assert re.fullmatch(r"[\w ]+ [01]\.\d{3}: 1 − specificity 0, recall \(sensitivity\) 0", first)
    assert first != page.inner_text("figure.roc .readout")

    line = json.loads(page.get_attribute("figure.roc [data-readout]", "data-readout"))["lines"][0]
    x, y, across, up = line["points"][-1]
    at = page.evaluate(
        "([x, y]) => { const p = new DOMPoint(x, y).matrixTransform(document.querySelector('figure.roc svg')"
        ".getScreenCTM()); return [p.x, p.y]; }",
        [x, y],
    )
    page.mouse.move(*at)

    assert [1, 1] == [across, up]
    assert "1 − specificity 1, recall (sensitivity) 1" in page.inner_text("figure.roc .readout")


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
    page.click("#cards .case[data-case='0000'] button.enlarge")

    assert HOSTILE in page.inner_text("#enlarged .facts")

    page.keyboard.press("Escape")

    assert HOSTILE in page.inner_text("#cards")
    assert 0 == page.locator("#cards img[src='x']").count()
