"""Twenty questions of a dermatologist and a data manager, answered on the pages by clicks alone (docs/pages.md).

Each answer is held against the registry; clicks are counted, and no question may take more than docs/pages.md says.
"""

import re
import shutil
from pathlib import Path

import pytest

from toolkit.formatting import spoken
from toolkit.pipeline import impact_with_page
from toolkit.workspace.registry import Workspace

DOCS = Path(__file__).parents[1] / "docs" / "pages.md"
WRONG = "run_id = $run and part = 'test' and predicted <> truth"


class Reader:
    """Somebody in front of the run's page who can click and look, and nothing else."""

    def __init__(self, tab, workspace: Workspace, run: str) -> None:
        self.tab, self.workspace, self.run, self.clicks = tab, workspace, run, 0

    def click(self, selector: str) -> None:
        self.tab.click(selector)
        self.clicks += 1

    def text(self, selector: str) -> str:
        return " ".join(self.tab.inner_text(selector).split())

    def shown(self) -> list[str]:
        return self.tab.eval_on_selector_all("#cards .case", "cards => cards.map((card) => card.dataset.case)")

    def rows(self, query: str, **parameters) -> list[dict]:
        return self.workspace.rows(query, {"run": self.run, **parameters} if "$run" in query else parameters)

    def worst(self) -> dict:
        """The most harmful error as the registry has it: a malignant case predicted as benign, if there is one."""
        malignant = ("basal_cell_carcinoma", "malignant_melanoma")
        rows = self.rows(f"select case_id, truth, predicted, confidence from scored where {WRONG}")
        harm = lambda row: (  # noqa: E731 - the study's costs
            {(True, False): 10, (False, True): 2}.get((row["truth"] in malignant, row["predicted"] in malignant), 1)
        )
        return max(rows, key=lambda row: (harm(row) * row["confidence"], row["confidence"]))


def missed_melanomas(reader: Reader) -> None:
    """Which melanomas were missed?"""
    rows = reader.rows(f"select case_id from scored where {WRONG} and truth = 'malignant_melanoma'")
    words = reader.text(".findings")
    of = reader.rows(
        "select count(*) as cases from scored where run_id = $run and part = 'test' and truth = 'malignant_melanoma'"
    )

    assert f"Of {of[0]['cases']} cases of malignant melanoma" in words
    assert (f"{len(rows)} were missed" if len(rows) > 1 else "missed") in words


def largest_miss(reader: Reader) -> None:
    """What does the most harmful error look like, as large as possible and with its ROI?"""
    reader.click("#cards li:first-child button.enlarge")
    reader.tab.wait_for_function("() => document.querySelector('#enlarged img').naturalWidth > 224")

    assert f"Case {reader.worst()['case_id']}" == reader.text("#enlarged .title")
    assert reader.tab.is_visible("#enlarged svg rect.outline")


def votes(reader: Reader) -> None:
    """Who said what about this lesion?"""
    reader.click("#cards li:first-child button.enlarge")
    own = reader.rows(
        "select annotator, class_name from readings where case_id = $case", case=reader.worst()["case_id"]
    )

    assert {f"{spoken(row['class_name'])} by {row['annotator']}" for row in own} == set(
        reader.tab.inner_text("#enlarged .votes").splitlines()
    )


def label_in_doubt(reader: Reader) -> None:
    """Is the label of this lesion in doubt, and why?"""
    reader.click("#cards li:first-child button.enlarge")
    (row,) = reader.rows("select * from label_evidence where case_id = $case", case=reader.worst()["case_id"])
    doubted = row["score"] >= 0.02 and row["suggested_class"] is not None

    assert doubted == (
        f"The label may be wrong: perhaps {spoken(row['suggested_class'] or '')}." in reader.text("#enlarged")
    )


def other_lesions(reader: Reader) -> None:
    """What else has this patient?"""
    reader.click("#cards li:first-child button.enlarge")
    (row,) = reader.rows("select patient_id from cases where case_id = $case", case=reader.worst()["case_id"])
    (others,) = reader.rows(
        "select count(*) - 1 as others from scored inner join cases on cases.case_id = scored.case_id "
        "where run_id = $run and cases.patient_id = $patient",
        patient=row["patient_id"],
    )
    words = {0: "no other case", 1: "1 other case"}.get(others["others"], f"{others['others']} other cases")

    assert words in reader.text("#enlarged")


def benign_as_malignant(reader: Reader) -> None:
    """Which benign lesions are taken for melanomas?"""
    reader.click("button.head[data-part=test][data-predicted=malignant_melanoma]")
    rows = reader.rows(f"select case_id from scored where {WRONG} and predicted = 'malignant_melanoma'")

    assert {row["case_id"] for row in rows} == set(reader.shown())


def darker_skin(reader: Reader) -> None:
    """Is the model worse on darker skin?"""
    reader.click("nav a[href='#groups']")
    worst = reader.rows(
        "select group_name from subgroup_scores where run_id = $run and part = 'test' and worst and q < 0.05 "
        "and metric in ('accuracy', 'macro_recall')"
    )

    assert bool(worst) == reader.text("#groups > p").startswith("Worse than the others")
    assert "Fitzpatrick skin type" in reader.text("table.groups")


def flagged(reader: Reader) -> None:
    """At the study's threshold, how many of 100 are flagged, and how many melanomas are missed?"""
    reader.click("nav a[href='#operating']")
    (point,) = reader.rows(
        "select value, cases from operating_points "
        "where run_id = $run and part = 'test' and target = 'melanoma' and metric = 'recall'"
    )
    cells = reader.tab.eval_on_selector_all(
        "#operating tbody tr", "rows => rows.map((row) => row.innerText.split('\\t'))"
    )
    (melanoma,) = [row for row in cells if row[0].strip() == "melanoma" and len(row) == 10]

    assert round(point["value"] * point["cases"]) == int(melanoma[2])
    assert point["cases"] == int(melanoma[2]) + int(melanoma[3])
    assert 0 <= float(melanoma[6]) <= 100


def trust(reader: Reader) -> None:
    """May I trust a probability of 0.9?"""
    reader.click("nav a[href='#calibration']")
    rows = reader.workspace.shipped_rows("calibration", run=reader.run, part="test")
    largest = max(row["cases"] for row in rows if row["probabilities"] == "as predicted")

    assert f"Of the {largest} case" in reader.text("figure.reliability")


def what_is_this(reader: Reader) -> None:
    """What is a decision curve?"""
    reader.click("nav a[href='#operating']")
    reader.click("figure.decision summary")

    assert "Net benefit counts lesions found" in reader.text("figure.decision details")


def labels_first(reader: Reader) -> None:
    """Which labels should be looked at first?"""
    reader.click("nav a[href='#labels']")
    reader.click("a[href='../audit/index.html']")
    (row,) = reader.rows("select case_id from label_evidence where listed order by place limit 1")

    assert f"case {row['case_id']}" in reader.text("#suspects li:first-child")
    assert reader.tab.locator("#suspects li:first-child img").count() >= 1


def leak(reader: Reader) -> None:
    """Does a patient leak from training into test?"""
    assert "No patient in more than one subset" in reader.text(".checks")


def two_patients(reader: Reader) -> None:
    """Which photographs stand under two patients?"""
    reader.click("nav a[href='#labels']")
    reader.click("a[href='../audit/index.html']")
    reader.click("nav a[href='#duplicates']")
    pairs = reader.rows(
        "select count(*) as pairs from duplicates inner join images as a on a.image_id = duplicates.image_id "
        "inner join images as b on b.image_id = duplicates.other_image_id where a.patient_id <> b.patient_id"
    )

    assert f"Two patients: {pairs[0]['pairs']} pair" in reader.text("#duplicates")


def in_labelbox(reader: Reader) -> None:
    """Where is this photograph in Labelbox?"""
    reader.click("#cards li:first-child button.enlarge")
    (row,) = reader.rows("select image_id from cases where case_id = $case", case=reader.worst()["case_id"])
    address = reader.tab.get_attribute("#enlarged .facts a", "href")

    assert re.fullmatch(rf"https://app\.labelbox\.com/projects/\w+/data-rows/{row['image_id']}", address)


def its_file(reader: Reader) -> None:
    """What is its file called?"""
    reader.click("#cards li:first-child button.enlarge")
    (row,) = reader.rows(
        "select images.path from cases inner join images on images.image_id = cases.image_id where case_id = $case",
        case=reader.worst()["case_id"],
    )

    assert f"file {Path(row['path']).name}" in reader.text("#enlarged")


def labelled(reader: Reader) -> None:
    """Who labelled how much, week by week?"""
    reader.click(".crumbs a")
    reader.click("a[href='progress/index.html']")

    assert re.search(r"\d annotators? made [\d\u202f]+ labels", reader.tab.inner_text("#labels"))


def still_to_do(reader: Reader) -> None:
    """What is still to do?"""
    reader.click(".crumbs a")
    reader.click("a[href='progress/index.html']")
    (row,) = reader.rows("select count(*) as cases from cases where unread is not null")

    assert "have no reading" in reader.text("#left") or row["cases"] == 0


def best_run(reader: Reader) -> None:
    """Which run is the best, and by how much?"""
    reader.click(".crumbs a")
    (row,) = reader.rows(
        "select value from scores where run_id = $run and part = 'test' and class_name is null "
        "and metric = 'macro_recall'"
    )

    assert f"{row['value']:.3f}" in reader.text("#runs tbody tr:first-child")
    assert "best" in reader.text("#runs tbody tr:first-child")


def changed(reader: Reader) -> None:
    """What did the last review change?"""
    reader.click(".crumbs a")
    reader.click("a[href^='impact-']")

    assert "Nobody has reviewed any of them yet." in reader.text("header")


def a_link(reader: Reader) -> None:
    """What link brings a colleague to the missed melanomas?"""
    reader.click(".findings li:has-text('malignant melanoma') a")
    there = reader.tab.context.new_page()
    there.goto(reader.tab.url)
    same = there.eval_on_selector_all("#cards .case", "cards => cards.map((card) => card.dataset.case)")
    there.close()

    assert same == reader.shown()
    assert "reference diagnosis malignant melanoma" in reader.text("#showing")


DERMATOLOGIST = (
    *(missed_melanomas, largest_miss, votes, label_in_doubt, other_lesions),
    *(benign_as_malignant, darker_skin, flagged, trust, what_is_this),
)
DATA_MANAGER = (
    *(labels_first, leak, two_patients, in_labelbox, its_file, labelled, still_to_do, best_run, changed, a_link),
)


@pytest.fixture(scope="module")
def there(finished, tmp_path_factory) -> Workspace:
    """The finished sample with the page of its queue's impact."""
    workspace = Workspace(tmp_path_factory.mktemp("questions") / "workspace")
    shutil.copytree(finished.workspace.folder, workspace.folder)
    list(impact_with_page(workspace, finished.study_file.study))
    return workspace


@pytest.fixture(scope="module")
def tab(chromium):
    """One for all: a second look at a page takes a third of the time."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("ask", [*DERMATOLOGIST, *DATA_MANAGER], ids=lambda ask: ask.__name__)
def test_a_question_is_answered_by_clicks_alone(finished, there, tab, ask):
    run = finished.results["Report"].run_id
    tab.goto((there.reports / run / "index.html").as_uri())
    reader = Reader(tab, there, run)
    ask(reader)
    tab.evaluate("localStorage.clear()")
    row = next(line for line in DOCS.read_text(encoding="utf-8").splitlines() if f"| {ask.__doc__} |" in line)

    assert reader.clicks == int(row.split("|")[3])
