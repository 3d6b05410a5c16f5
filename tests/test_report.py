import base64
import csv
import dataclasses
import hashlib
import io
import itertools
import json
import os
import re
import shutil
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from toolkit.errors import WorkspaceError
from toolkit.evaluate import evaluate
from toolkit.manifest import Study
from toolkit.registry import Workspace, insert
from toolkit.report import Report, report, wording
from toolkit.report.facts import Facts, gather
from toolkit.report.figures import spread
from toolkit.report.page import badges, generator

ROOT = Path(__file__).parents[1]

HOSTILE = "<img src=x onerror=alert(1)>"
SWITCHES = [
    "--no-sandbox",
    "--no-first-run",
    *(f"--disable-{name}" for name in ("gpu", "quic", "background-networking", "component-update", "sync")),
]
LEAKY = f"{HOSTILE}<script>alert(2)</script> see https://example.org/a?sig=1 or jo@example.org or /home/jo/x/PAT_7.jpg"
CLASSES = ("nevus", "malignant_melanoma", "keratosis")
IDS = {"run_id": "aaaa0001", "split_id": "bbbb0001", "truth_id": "majority-cccc0001"}
TIME = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - the registry keeps UTC without a zone
# part, truth, predicted, patient, confidence; no case of class keratosis stands in test, none is predicted as it
CASES = [
    *(("test", "nevus", "nevus", f"p-{n}", 0.6) for n in range(3)),
    ("test", "nevus", "malignant_melanoma", "p-3", 0.9),
    ("test", "nevus", "malignant_melanoma", "p-3", 0.7),
    ("test", "malignant_melanoma", "malignant_melanoma", "p-4", 0.8),
    ("test", "malignant_melanoma", "nevus", "p-5", 0.5),
    ("test", "malignant_melanoma", "nevus", "p-5", 0.95),
    ("test", "malignant_melanoma", "nevus", "p-6", 0.85),
    ("validation", "nevus", "malignant_melanoma", "p-7", 0.99),
    ("validation", "malignant_melanoma", "malignant_melanoma", "p-8", 0.6),
    ("validation", "keratosis", "nevus", "p-9", 0.55),
    ("train", "keratosis", None, "p-10", None),
    ("train", "nevus", None, "p-11", None),
]
LABEL = {"latest": True, "first_export": "e", "last_export": "e", "kind": "label", "in_study": True}
LABEL |= {"project_id": "project-1", "project": "small", "content_sha256": "c" * 64}
ERRORS = ["0007", "0003", "0008", "0004", "0006", "0009", "0011"]
"""Test first, most confident first."""


@dataclasses.dataclass(frozen=True)
class Made:
    """A small registry with its report, and the page parsed."""

    workspace: Workspace
    study: Study
    report: Report
    text: str

    def rows(self, name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((Path(self.report.page).parent / name).read_text(encoding="utf-8"))))


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the inline style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self.open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data):
        if self.open in ("style", "script"):
            self.inline[self.open] = data
            self.open = ""


def a_study(**report_section) -> Study:
    classes = [{"name": n, "answer": n.replace("_", " "), "malignant": "melanoma" in n} for n in CLASSES]
    return Study.model_validate(
        {
            "study": {"name": "small", "title": HOSTILE, "notice": LEAKY},
            "labelbox": {"projects": ["x"]},
            "classes": classes,
            "prompt": {"user": f"What is it? {HOSTILE}"},
            "model": {"name": "/data/models/secret_folder/weights"},
            "evaluate": {"replicates": 100},
            "report": report_section,
        }
    )


def photograph(folder: Path, number: int) -> Path:
    """Give a case its photograph; that of 0006 is no photograph, that of 0004 does not exist."""
    path = folder / f"PAT_SECRET_{number}.png"
    if number == 6:
        path.write_bytes(b"no photograph")
    elif number != 4:
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        exif = Image.Exif()
        exif[270] = "taken by Dr Secret"
        Image.fromarray(pixels).save(path, exif=exif)
    return path


def case_rows(number: int, row: tuple, folder: Path) -> dict[str, dict]:
    part, truth, predicted, patient, confidence = row
    case_id, image_id = f"{number:04}", f"image-{number}"
    box = {"roi_left": 10.0, "roi_top": 8.0, "roi_width": 20.0, "roi_height": 16.0} if number != 3 else {}
    name = f"PAT_SECRET_{number}"
    shares = dict.fromkeys(CLASSES, (1 - (confidence or 0)) / 2) | {predicted: confidence}
    said = {"predicted": predicted, "confidence": confidence, "label_mass": 0.875}
    pairs = [(name, shares[name]) for name in CLASSES]
    image = {"image_id": image_id, "global_key": name, "external_id": f"{name}.png", "patient_id": patient}
    pixels = {"path": str(photograph(folder, number)), "pixel_sha256": f"pixels-{number}", "export_id": "e"}
    place = {"split_id": IDS["split_id"], "case_id": case_id, "part": part, "class_name": truth, "created_at": TIME}
    key = {"run_id": IDS["run_id"], "part": part, "case_id": case_id}
    case = {"case_id": case_id, "image_id": image_id, "patient_id": patient, **box}
    of_label = {"label_id": f"label-{number}", "revision": 1}
    reading = {"case_id": case_id, **of_label, "class_name": truth}
    return {
        "images": image | pixels,
        "cases": case,
        "case_history": {"case_id": case_id, "image_id": image_id, "since": 1},
        "labels": of_label | LABEL | {"image_id": image_id},
        "readings": reading | {"counts": True},
        "reading_history": reading | {"counts": True, "benchmark": False, "since": 1},
        "splits": place,
        "predictions": key | said | {"probabilities": pairs, "log_likelihoods": pairs},
    }


def single_rows() -> dict[str, list[dict]]:
    counts = {"train_cases": 2, "train_patients": 2, "epochs": 2, "seconds": 1.5}
    kept = {"export_id": "e", "level": "case", "reason": HOSTILE, "detail": LEAKY}
    conserved = {"export_id": "e", "noun": "row", "read": 1234, "stored": 1230, "quarantined": 4, "repeated": 0}
    state = {"policy": "majority", "label_revision": "cccc0001", "key_fingerprint": "dddd0001", "study": "small"}
    state |= {"patient_from": "metadata", "content_hash": "c" * 64}
    losses = [("train_loss", 1, 2.0), ("train_loss", 2, 1.0), ("validation_loss", 1, 2.5), ("validation_loss", 2, 1.5)]
    run = {"model": "/data/models/secret_folder/weights", "device": "cpu", "finished_at": TIME}
    return {
        "exports": [{"export_id": "e", "source": LEAKY, "sha256": "f" * 64, "rows": 1234, "moment": 1}],
        "conservation": [conserved],
        "ingest_issues": [kept],
        "findings": [{"kind": HOSTILE, "source": "audit", "case_id": "0001", "detail": LEAKY}],
        "label_states": [{"truth_id": IDS["truth_id"], **state}],
        "runs": [{**IDS, **counts, **run}],
        "epochs": [{"run_id": IDS["run_id"], "metric": m, "epoch": e, "value": v} for m, e, v in losses],
    }


def a_registry(folder: Path, study: Study) -> Workspace:
    workspace = Workspace(folder / "workspace")
    (folder / "photographs").mkdir(parents=True)
    tables = single_rows()
    for number, row in enumerate(CASES):
        for table, made in case_rows(number, row, folder / "photographs").items():
            if table != "predictions" or made["predicted"]:
                tables.setdefault(table, []).append(made)
    shares = pa.map_(pa.string(), pa.float64())
    with workspace.writing() as connection:
        for table, rows in tables.items():
            names = list(dict.fromkeys(name for row in rows for name in row))
            kinds = {"probabilities": shares, "log_likelihoods": shares}
            columns = {name: pa.array([row.get(name) for row in rows], type=kinds.get(name)) for name in names}
            insert(connection, table, pa.table(columns))
    record = {"study": study.model_dump(mode="json"), "model": {"parameters": 1234567, "trainable_parameters": 9}}
    workspace.run(IDS["run_id"]).mkdir(parents=True)
    (workspace.run(IDS["run_id"]) / "run.json").write_text(json.dumps(record))
    return workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    study = a_study()
    workspace = a_registry(tmp_path_factory.mktemp("report"), study)
    evaluate(workspace, study)
    written = report(workspace, study)
    return Made(workspace, study, written, Path(written.page).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def elements(made) -> Elements:
    return Elements(made.text)


@pytest.fixture(scope="module")
def facts(made) -> Facts:
    return gather(made.workspace, made.study, "aaaa0001")


def test_a_hostile_text_becomes_no_element(made, elements):
    tags = [tag for tag, _ in elements.found]
    pictures = [attributes for tag, attributes in elements.found if tag == "img"]

    assert 1 == tags.count("script")
    assert 1 == tags.count("style")
    assert all(picture["src"].startswith("data:image/webp;base64,") for picture in pictures)
    assert "&lt;img src=x onerror=alert(1)&gt;" in made.text


def test_no_element_carries_a_style_or_an_event(elements):
    names = {name for _, attributes in elements.found for name in attributes}

    assert set() == {name for name in names if name == "style" or name.startswith("on")}


def test_the_page_asks_for_no_other_file(elements):
    named = [attributes.get(name) for _, attributes in elements.found for name in ("src", "href", "xlink:href")]

    assert [] == [link for link in named if link and not link.startswith(("#", "data:image/webp;base64,"))]


def test_ids_are_unique_and_every_link_has_its_target(elements):
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    links = {attributes["href"][1:] for tag, attributes in elements.found if tag == "a"}

    assert len(set(ids)) == len(ids)
    assert set() == links - set(ids)


def test_no_name_path_address_or_e_mail_leaves_the_registry(made):
    texts = [Path(name).read_text(encoding="utf-8") for name in made.report.files if not name.endswith(".svg")]
    secrets = ("PAT_", "secret_folder", "example.org", "/home/", str(made.workspace.folder), "://", "Dr Secret")

    assert [] == [(secret, text[:40]) for secret in secrets for text in texts if secret in text]


def test_the_policy_allows_the_one_script_and_the_one_style(elements):
    policy = next(
        a["content"] for _, a in elements.found if (a.get("http-equiv") or "").lower() == "content-security-policy"
    )
    digests = {
        tag: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for tag, text in elements.inline.items()
    }

    assert {"style", "script"} == set(digests)
    assert f"script-src 'sha256-{digests['script']}';" in policy
    assert f"style-src 'sha256-{digests['style']}';" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy


def test_headings_stand_in_order(elements):
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h[1-6]", tag)]

    assert [1] == [level for level in levels if level == 1]
    assert 1 == levels[0]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_gallery_shows_test_first_and_the_most_confident_first(made, elements):
    shown = [attributes["data-case"] for tag, attributes in elements.found if tag == "li" and "data-case" in attributes]

    assert ERRORS == shown
    assert (7, 7) == (made.report.errors_shown, made.report.errors)
    assert "Showing 7 of 7" in made.text


def test_the_gallery_is_as_long_as_the_study_wants_and_the_table_holds_the_rest(tmp_path):
    study = a_study(gallery=2)
    workspace = a_registry(tmp_path, study)
    evaluate(workspace, study)

    written = report(workspace, study, run="aaaa0001")
    text = Path(written.page).read_text(encoding="utf-8")

    assert (2, 7) == (written.errors_shown, written.errors)
    assert "Showing 2 of 7" in text
    assert 2 == text.count("data-case=")
    assert 7 == (Path(written.page).parent / "misclassified.csv").read_text().count("\n") - 1


def test_a_photograph_that_cannot_be_opened_is_said_so(made):
    assert 2 == made.text.count("the photograph cannot be shown: image unreadable")


def test_a_thumbnail_carries_nothing_but_pixels(elements):
    sources = [attributes["src"] for tag, attributes in elements.found if tag == "img"]
    for source in sources:
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))

        assert {} == dict(image.getexif())
        assert 224 >= max(image.size)

    # five photographs can be opened, four of them with their ROI
    assert 9 == len(sources)


def test_the_matrix_counts_cases_and_patients(elements):
    labels = [a["aria-label"] for tag, a in elements.found if tag == "button" and "data-cases" in a]

    assert "2 cases / 1 patient: truth nevus, predicted malignant melanoma" in labels
    assert "3 cases / 2 patients: truth malignant melanoma, predicted nevus" in labels
    assert 4 == len(labels)


def test_undefined_is_a_dash_with_its_denominator(made):
    undefined = re.findall(r'title="undefined">(.+?)</span>.*?n = (\d+)', made.text)

    assert ("–", "0") in undefined
    assert not re.search(r">\s*nan\b", made.text)
    assert "over 2 of 3 classes" in made.text


def test_the_first_screen_says_what_to_know_before_believing(facts):
    told = [(badge.shape, badge.text) for badge in badges(facts)]

    assert ("good", "No patient in two parts: split bbbb0001") in told
    assert ("look", "Quarantined: 4 rows") in told
    assert ("good", "Unresolved: 0 cases") in told
    assert ("fact", "test scored 1 time") in told


def test_a_patient_in_two_parts_is_shouted(facts):
    leak = facts.leakage | {"patients_in_two_parts": 1}

    assert (
        "Leakage: 1 patient and 0 photographs in two parts" == badges(dataclasses.replace(facts, leakage=leak))[0].text
    )


def test_scores_of_an_older_label_revision_are_told_apart(facts):
    newer = dataclasses.replace(facts, label_state=facts.label_state | {"truth_id": "majority-eeee0001"})

    assert "Labels changed since scoring: run toolkit evaluate" == badges(newer)[-1].text


def test_per_class_csv_holds_the_scores_unrounded(made):
    scores = made.workspace.rows("select * from scores where class_name is not null")
    rows = {(row["part"], row["class_name"]): row for row in made.rows("per_class.csv")}

    assert 6 == len(rows)
    for score in scores:
        row = rows[score["part"], score["class_name"]]

        assert repr(score["value"]) == row[score["metric"]]
        assert repr(score["low"]) == row[f"{score['metric']}_low"]
        assert repr(score["high"]) == row[f"{score['metric']}_high"]
    assert "nan" == rows["test", "keratosis"]["recall"]
    assert ("5", "4") == (rows["test", "nevus"]["cases"], rows["test", "nevus"]["patients"])
    assert "majority-cccc0001" == rows["test", "nevus"]["truth_id"]


def test_what_was_evaluated_stands_on_the_page_and_in_its_tables(made):
    points = {row["metric"]: row for row in made.rows("operating_points.csv")}

    assert {"recall", "specificity", "precision", "npv", "benign_per_found"} == set(points)
    assert {"malignant"} == {row["target"] for row in points.values()}
    assert "cannot vouch for a sensitivity of 0.95" in made.text
    assert 9 == sum(int(row["cases"]) for row in made.rows("calibration.csv") if row["probabilities"] == "as predicted")
    assert 49 == len(made.rows("decision_curve.csv"))
    assert "too few patients" in made.text


def test_summary_csv_holds_the_averages_with_their_method(made):
    rows = {(row["part"], row["metric"]): row for row in made.rows("summary.csv")}

    assert repr(4 / 9) == rows["test", "accuracy"]["value"]
    assert "2" == rows["test", "macro_recall"]["classes"]
    assert "0" == rows["test", "macro_recall"]["replicates"]
    assert "100" == rows["test", "macro_pr_auc"]["replicates"]
    assert ("9", "7") == (rows["test", "accuracy"]["cases"], rows["test", "accuracy"]["patients"])


def test_misclassified_csv_names_cases_and_pseudonyms_only(made):
    rows = made.rows("misclassified.csv")
    first = {"case_id": "0007", "part": "test", "patient_id": "p-5", "truth": "malignant_melanoma"}
    said = {"predicted": "nevus", "confidence": "0.95", "label_mass": "0.875"}
    shares = {"probability_nevus": "0.95", "probability_malignant_melanoma": repr((1 - 0.95) / 2)}

    assert ERRORS == [row["case_id"] for row in rows]
    assert {**first, **said, **shares, "probability_keratosis": repr((1 - 0.95) / 2)} == rows[0]


def test_the_same_registry_gives_the_same_bytes(made):
    before = {name: Path(name).read_bytes() for name in made.report.files}
    again = report(made.workspace, made.study)

    assert before == {name: Path(name).read_bytes() for name in again.files}


def test_the_committed_sample_report_is_of_this_template_and_these_columns(finished):
    committed = ROOT / "reports" / "sample"
    mine = {path.name: path.read_text().partition("\n")[0] for path in committed.glob("*.csv")}
    fresh = {
        Path(name).name: Path(name).read_text().partition("\n")[0]
        for name in finished.results["Report"].files
        if name.endswith(".csv")
    }
    by = re.search(r'<meta name="generator" content="(.*)">', (committed / "index.html").read_text())

    assert generator() == by[1], "run `make golden`, look at the page, commit it"
    assert fresh == mine


def test_a_run_without_scores_is_refused_with_the_next_step(tmp_path):
    study = a_study()
    workspace = a_registry(tmp_path, study)

    with pytest.raises(WorkspaceError, match="toolkit evaluate --run aaaa0001"):
        report(workspace, study)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([1.0, 1.0, 1.0], [1.0, 0.75, 0.5]),
        ([0.9, 0.4], [0.9, 0.4]),
        ([0.25, 0.0, 0.0], [0.5, 0.25, 0.0]),
        ([], []),
    ],
)
def test_labels_keep_their_order_and_their_distance(wanted, expected):
    assert expected == spread(wanted, gap=0.25)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.proportion(-0.12345), "\N{MINUS SIGN}0.123"),
        (wording.proportion(float("nan")), "\N{EN DASH}"),
        (wording.interval(0.1, 0.25), "0.100\N{EN DASH}0.250"),
        (wording.interval(float("nan"), 1), "no interval"),
        (wording.count(1234567), "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"),
        (wording.support(1, 2), "1 case / 2 patients"),
        (wording.percent(0.999), "99.9%"),
        (wording.model_name("/a/b/c"), "c"),
        (wording.model_name("org/model"), "org/model"),
        (wording.clean("PAT 7.JPG twice"), "PAT [file name removed] twice"),
        (wording.clean("read and/or write 1/2 /a/b.jpg"), "read and/or write 1/2 [path removed]"),
    ],
)
def test_numbers_and_texts_are_written_for_a_reader(written, expected):
    assert expected == written


@pytest.fixture(scope="module")
def chromium():
    needed = bool(os.environ.get("LESION_TOOLKIT_NEED_BROWSER"))
    path = shutil.which("chromium")
    if path is None:
        say = pytest.fail if needed else pytest.skip
        say("no chromium on the PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=SWITCHES)
        yield browser
        browser.close()


def shown(page) -> list[str]:
    return page.eval_on_selector_all(".case:not([hidden])", "cards => cards.map(card => card.dataset.case)")


def test_the_page_works_in_a_browser_without_a_network(made, chromium):
    context = chromium.new_context(offline=True, viewport={"width": 1120, "height": 900})
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    address = Path(made.report.page).as_uri()
    page.goto(address)

    assert ERRORS == shown(page)

    page.click("button.cell[data-part=test][data-truth=malignant_melanoma][data-predicted=nevus]")

    assert ["0007", "0008", "0006"] == shown(page)
    assert "#part=test&truth=malignant_melanoma&predicted=nevus" == page.evaluate("location.hash")
    assert "Showing 3 of 7: test, truth malignant melanoma, predicted nevus" == page.inner_text("#showing")

    page.reload()

    assert ["0007", "0008", "0006"] == shown(page)

    page.click("#everything")

    assert ERRORS == shown(page)

    page.click("button.part[data-part=validation]")
    page.focus("button.cell[data-part=validation][data-truth=keratosis]")
    page.keyboard.press("Enter")

    assert ["0011"] == shown(page)
    assert not page.is_visible(".matrix[data-part=test]")
    assert page.is_visible(".photo img >> visible=true")

    page.keyboard.press("h")

    assert 0 == page.locator(".photo img").filter(visible=True).count()
    assert "Show photographs (h)" == page.inner_text("#hide")

    page.keyboard.press("h")
    page.set_viewport_size({"width": 390, "height": 844})

    assert 390 == page.evaluate("document.documentElement.scrollWidth")
    assert [] == said
    assert {address} == {url.partition("#")[0] for url in asked if not url.startswith("data:")}
    context.close()


def test_the_first_screen_needs_no_scrolling(made, chromium):
    page = chromium.new_page(offline=True, viewport={"width": 1120, "height": 900})
    page.goto(Path(made.report.page).as_uri())

    assert 900 >= page.evaluate("document.querySelector('nav').getBoundingClientRect().bottom")

    page.close()
