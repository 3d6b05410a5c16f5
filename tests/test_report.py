import base64
import csv
import dataclasses
import hashlib
import io
import itertools
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from registries import CASES, CLASSES, FORMULA, a_registry, a_study

from toolkit import formatting
from toolkit.console.scores import show_scores
from toolkit.csv_files import MARK, columns_of, read_csv
from toolkit.errors import WorkspaceError
from toolkit.manifest import Study
from toolkit.manifest.evaluation import Condition, ReportSection
from toolkit.stages.evaluate import evaluate
from toolkit.stages.evaluate.scoring import EvaluationKey, Scorer
from toolkit.stages.report import Report, report
from toolkit.stages.report.cases import first_of_each
from toolkit.stages.report.facts import PreviousRun, ReportFacts, gather
from toolkit.stages.report.figures import spread
from toolkit.stages.report.first_screen import badges, calibration_verdict, judged
from toolkit.stages.report.headlines import findings, headlines
from toolkit.stages.report.layout import generator
from toolkit.workspace import sql
from toolkit.workspace.class_arrays import ClassArrays
from toolkit.workspace.registry import Workspace, insert
from toolkit.workspace.scores import Score

ROOT = Path(__file__).parents[1]
ERRORS = ["0007", "0003", "0008", "0004", "0006", "0009", "0011"]
"""Test first, most confident first."""


@dataclasses.dataclass(frozen=True)
class SmallReport:
    """A small registry with its report, and the page parsed."""

    workspace: Workspace
    study: Study
    report: Report
    text: str

    def rows(self, name: str) -> list[dict[str, str]]:
        return read_csv(Path(self.report.page).parent / name)


class Elements(HTMLParser):
    """Every element with its attributes, and the text of the inline style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline: dict[str, str] = {}
        self.data = ""
        self.open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.open = "data" if dict(attrs).get("id") == "data" else tag

    def handle_data(self, data):
        if self.open == "data":
            self.data += data
        elif self.open in ("style", "script"):
            self.inline[self.open] = data
            self.open = ""

    def handle_endtag(self, _):
        self.open = ""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallReport:
    study = a_study()
    workspace = a_registry(tmp_path_factory.mktemp("report"), study)
    evaluate(workspace, study)
    written = report(workspace, study)
    return SmallReport(workspace, study, written, Path(written.page).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def elements(small) -> Elements:
    return Elements(small.text)


@pytest.fixture(scope="module")
def facts(small) -> ReportFacts:
    return gather(small.workspace, small.study, "aaaa0001")


def test_a_hostile_text_becomes_no_element(small, elements):
    tags = [tag for tag, _ in elements.found]
    kinds = [attributes.get("type") for tag, attributes in elements.found if tag == "script"]

    assert ["application/json", None] == kinds
    assert 1 == tags.count("style")
    assert "img" not in tags
    assert "&lt;img src=x onerror=alert(1)&gt;" in small.text


def test_no_element_carries_a_style_or_an_event(elements):
    names = {name for _, attributes in elements.found for name in attributes}

    assert set() == {name for name in names if name == "style" or name.startswith("on")}


def test_the_page_asks_for_no_other_file(elements):
    named = [attributes.get(name) for _, attributes in elements.found for name in ("src", "href", "xlink:href")]

    others = {link.partition("#")[0] for link in named if link and not link.startswith("#")}

    assert {"../index.html", "../audit/index.html", "glossary.html", "model_card.html"} == others


def test_ids_are_unique_and_every_link_has_its_target(elements):
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    links = {a["href"][1:] for tag, a in elements.found if tag == "a" and a["href"].startswith("#")}
    links = {link for link in links if "=" not in link}  # a selection of the gallery

    assert len(set(ids)) == len(ids)
    assert set() == links - set(ids)


def test_no_name_path_address_or_e_mail_leaves_the_registry(small):
    texts = [Path(name).read_text(encoding="utf-8") for name in small.report.files if name.endswith((".html", ".csv"))]
    secrets = ("PAT_", "secret_folder", "example.org", "/home/", str(small.workspace.folder), "://", "Dr Secret")

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


def shown_cases(text: str) -> list[dict]:
    data = json.loads(Elements(text).data)
    return [dict(zip(data["columns"], row, strict=True)) for row in data["cases"]]


def test_the_page_holds_every_scored_case_wrong_ones_and_the_most_confident_first(small):
    cases = shown_cases(small.text)

    assert ERRORS == [case["case"] for case in cases if case["truth"] != case["predicted"]]
    assert ERRORS == [case["case"] for case in cases][:7]
    assert 12 == len(cases)
    assert (7, 7, True) == (small.report.errors_shown, small.report.errors, small.report.one_file)


def test_a_case_is_shown_with_who_said_so_and_what_is_known_of_it(small):
    data = json.loads(Elements(small.text).data)
    first = shown_cases(small.text)[0]
    shares = [(1 - 0.95) / 2 if name != "nevus" else 0.95 for name in CLASSES]

    assert ("0007", shares, 0.875) == (first["case"], first["chances"], first["mass"])
    assert (1, 1, "single_reading") == (first["agreeing"], first["readings"], first["resolved"])
    assert "p-5" == data["patients"][first["patient"]]
    assert [10.0, 8.0, 20.0, 16.0] == first["roi"]
    # a melanoma taken for a nevus costs most
    assert [[0, 2, 1], [10, 0, 10], [1, 2, 0]] == data["costs"]


@pytest.mark.soak
def test_with_more_errors_than_the_study_wants_photographs_stand_beside_the_page(tmp_path):
    study = a_study(gallery=2)
    workspace = a_registry(tmp_path, study)
    evaluate(workspace, study)

    written = report(workspace, study, run="aaaa0001")
    page = Path(written.page)
    cases = shown_cases(page.read_text(encoding="utf-8"))
    named = {case[side] for case in cases for side in ("photograph", "crop") if case[side]}

    assert not written.one_file
    assert {f"thumbs/{path.name}" for path in page.parent.glob("thumbs/*")} == named
    assert 19 == len(named)
    assert "img-src &#39;self&#39; data:;" in page.read_text(encoding="utf-8")


@pytest.mark.soak
def test_a_page_of_too_many_cases_holds_the_most_confident_of_each_cell_and_says_where_the_others_are(
    tmp_path, monkeypatch
):
    study = a_study()
    workspace = a_registry(tmp_path, study)
    evaluate(workspace, study)
    whole = Path(report(workspace, study).page)
    every = {name: (whole.parent / name).read_bytes() for name in ("cases.csv", "misclassified.csv")}
    monkeypatch.setattr("toolkit.stages.report.cases.MOST_SHOWN", 8)
    written = report(workspace, study)
    page = Path(written.page)
    text = page.read_text(encoding="utf-8")
    cases, classes = shown_cases(text), json.loads(Elements(text).data)["classes"]
    cells = [(case["part"], classes[case["truth"]], classes[case["predicted"]]) for case in cases]

    # one of each cell, and 0008, the most confident of those that come second in theirs
    assert ["0007", "0003", "0008", "0009", "0011", "0005", "0000", "0010"] == [case["case"] for case in cases]
    assert 7 == len(set(cells))
    assert "This page holds 8 of 12 scored cases" in text
    assert json.loads(Elements(text).data)["limited"]
    assert every == {name: (page.parent / name).read_bytes() for name in every}
    assert 7 == written.errors


def test_each_cell_gives_as_many_of_its_first_entries(monkeypatch):
    monkeypatch.setattr("toolkit.stages.report.cases.MOST_SHOWN", 5)
    cells = np.array([7, 7, 7, 7, 2, 2, 9])

    assert [0, 1, 4, 5, 6] == first_of_each(cells).tolist()
    assert [0, 1] == first_of_each(np.array([3, 3])).tolist()
    assert [] == first_of_each(np.array([], dtype=int)).tolist()


def test_a_photograph_that_cannot_be_opened_is_said_so(small):
    faults = [case["fault"] for case in shown_cases(small.text) if case["fault"]]

    assert 2 == len(faults)
    assert {"the photograph cannot be shown: image unreadable"} == set(faults)


def test_a_thumbnail_carries_nothing_but_pixels(small):
    cases = shown_cases(small.text)
    sources = [case[side] for case in cases for side in ("photograph", "crop") if case[side]]
    for source in sources:
        image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))

        assert {} == dict(image.getexif())
        assert 224 >= max(image.size)

    # ten photographs can be opened, nine of them with their ROI
    assert 19 == len(sources)


def test_the_matrix_counts_cases_and_patients(elements):
    labels = [a["aria-label"] for tag, a in elements.found if tag == "button" and "data-cases" in a]

    assert "2 cases / 1 patient: reference diagnosis nevus, predicted malignant melanoma" in labels
    assert "3 cases / 2 patients: reference diagnosis malignant melanoma, predicted nevus" in labels
    # four kinds of error, and four classes that were hit in their parts
    assert 7 == len(labels)


def test_undefined_is_a_dash_with_its_denominator(small):
    undefined = re.findall(r'title="undefined">(.+?)</span>.*?n = (\d+)', small.text)

    assert ("–", "0") in undefined
    assert not re.search(r">\s*nan\b", small.text)
    assert "over 2 of 3 classes" in small.text


def test_the_first_screen_says_what_to_know_before_believing(facts):
    checks = [(badge.shape, badge.text) for badge in badges(facts)]

    assert ("good", "No patient in more than one subset: split bbbb0001") in checks
    assert ("look", "Quarantined: 4 rows") in checks
    assert ("good", "No reference diagnosis: 0 cases") in checks
    assert ("fact", "Test set evaluated 1 time") in checks


def test_a_patient_in_two_parts_is_shouted(facts):
    leak = facts.leakage | {"patients_in_two_parts": 1}

    first = badges(dataclasses.replace(facts, leakage=leak))[0]

    assert "Leakage: 1 patient and 0 photographs in more than one subset" == first.text


def test_scores_of_an_older_label_revision_are_told_apart(facts):
    newer = dataclasses.replace(facts, label_state=facts.label_state | {"truth_id": "majority-eeee0001"})

    assert "Labels changed since the evaluation: run toolkit evaluate" in [
        badge.text for badge in badges(newer) if badge.shape == "look"
    ]


def test_per_class_csv_holds_the_scores_unrounded(small):
    scores = small.workspace.rows("select * from scores where class_name is not null")
    rows = {(row["part"], row["class_name"]): row for row in small.rows("per_class.csv")}

    assert 6 == len(rows)
    for score in scores:
        row = rows[score["part"], score["class_name"]]

        assert repr(score["value"]) == row[score["metric"]]
        assert repr(score["low"]) == row[f"{score['metric']}_low"]
        assert repr(score["high"]) == row[f"{score['metric']}_high"]
    assert "nan" == rows["test", "keratosis"]["recall"]
    assert ("5", "4") == (rows["test", "nevus"]["cases"], rows["test", "nevus"]["patients"])
    assert "majority-cccc0001" == rows["test", "nevus"]["truth_id"]


def test_what_was_evaluated_stands_on_the_page_and_in_its_tables(small):
    points = {row["metric"]: row for row in small.rows("operating_points.csv")}

    assert {"recall", "specificity", "precision", "npv", "benign_per_found"} == set(points)
    assert {"malignant"} == {row["target"] for row in points.values()}
    assert "every malignant lesion was detected; the sensitivity of lesions is 0." in small.text
    assert {"stage", "reason", "number"} == set(small.rows("flow.csv")[0])
    assert 9 == sum(
        int(row["cases"]) for row in small.rows("calibration.csv") if row["probabilities"] == "as predicted"
    )
    assert 49 == len(small.rows("decision_curve.csv"))
    assert "† Few patients" in small.text


def test_summary_csv_holds_the_averages_with_their_method(small):
    rows = {(row["part"], row["metric"]): row for row in small.rows("summary.csv")}

    assert repr(4 / 9) == rows["test", "accuracy"]["value"]
    assert "2" == rows["test", "macro_recall"]["classes"]
    assert "0" == rows["test", "macro_recall"]["replicates"]
    assert "0" == rows["test", "macro_pr_auc"]["replicates"]
    assert ("9", "7") == (rows["test", "accuracy"]["cases"], rows["test", "accuracy"]["patients"])


def test_misclassified_csv_names_cases_and_pseudonyms_only(small):
    rows = small.rows("misclassified.csv")
    first = {"case_id": "0007", "part": "test", "patient_id": "p-5", "truth": "malignant_melanoma"}
    prediction = {"predicted": "nevus", "confidence": "0.95", "label_mass": "0.875"}
    shares = {"probability_nevus": "0.95", "probability_malignant_melanoma": repr((1 - 0.95) / 2)}

    assert ERRORS == [row["case_id"] for row in rows]
    assert {**first, **prediction, **shares, "probability_keratosis": repr((1 - 0.95) / 2)} == rows[0]


def test_the_same_registry_gives_the_same_bytes(small):
    before = {name: Path(name).read_bytes() for name in small.report.files}
    again = report(small.workspace, small.study)

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


class PerClass(HTMLParser):
    """The values of the page's per-class tables, by row and column."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.within, self.value = False, False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        look = dict(attrs).get("class") or ""
        if tag == "table":
            self.within = look == "metrics"
            self.tables += [[]] if self.within else []
        elif tag == "tr" and self.within:
            self.tables[-1].append([])
        self.value = tag == "span" and look == "value"

    def handle_data(self, data):
        if self.within and self.value:
            self.tables[-1][-1].append(data)
            self.value = False


def test_page_csv_terminal_and_registry_say_the_same(small, capsys):
    show_scores(small.workspace, "aaaa0001")
    terminal = capsys.readouterr().out.split("per class, test")[1].split("most frequent")[0]
    said = {line.split()[0]: line.split() for line in terminal.splitlines() if line.startswith(CLASSES)}
    page = dict(zip(CLASSES, PerClass(small.text).tables[0][1:], strict=False))
    table = {row["class_name"]: row for row in small.rows("per_class.csv") if row["part"] == "test"}
    metrics = ("precision", "recall", "specificity", "f1", "roc_auc", "pr_auc")
    for name in CLASSES:
        own = "select metric, value from scores where part = 'test' and class_name = $name"
        stored = {row["metric"]: row["value"] for row in small.workspace.rows(own, {"name": name})}
        shown = [formatting.proportion(stored[metric]) for metric in metrics]
        bar = 0 if math.isnan(stored["recall"]) else 1
        recall, *others = [said[name][2], *said[name][3 + bar :]]

        assert shown == page[name][: len(metrics)]
        assert shown == [formatting.proportion(float(table[name][metric])) for metric in metrics]
        assert shown == [others[0], recall, *others[1:]]


def test_no_cell_of_a_table_starts_a_formula(small):
    paths = [Path(name) for name in small.report.files if name.endswith(".csv")]
    texts = [path.read_bytes().decode() for path in paths]
    cells = [cell for text in texts for row in csv.reader(io.StringIO(text.removeprefix(MARK))) for cell in row]

    assert all(text.startswith(MARK) for text in texts)
    assert [] == [cell for cell in cells if re.match(r"[=+@\t\r\n＝＋－＠]|-(?![\d.]|inf)", cell)]
    assert f"'{FORMULA}" in cells


def test_every_column_of_every_table_has_its_meaning(small):
    meanings = {(row["file"], row["column"]): row["meaning"] for row in small.rows("data_dictionary.csv")}
    files = [Path(name) for name in small.report.files if name.endswith(".csv")]
    columns = {(path.name, column) for path in files for column in columns_of(path.read_text())}

    assert columns == set(meanings)
    assert [] == [column for column, meaning in meanings.items() if not meaning]


def test_a_run_is_held_beside_the_one_before_and_its_conditions(facts):
    before = PreviousRun("bbbb0002", True, {("test", "macro_recall", None): 0.5})
    enough = {key: score._replace(cases=90, too_few=False) for key, score in facts.scores.items()}
    asked = ReportSection(
        conditions=[
            Condition(metric="accuracy", at_least=0.4),
            Condition(metric="accuracy", at_least=0.1),
            Condition(metric="recall", class_name="nevus", at_least=0.9),
            Condition(metric="recall", class_name="keratosis", at_least=0.9),
        ]
    )
    found = dataclasses.replace(facts, previous=before, report=asked, scores=enough)
    verdicts = [badge for badge in badges(found) if badge.link == "per-class"]

    # recalls 3/5 and 1/4, the class without cases left out
    assert "\N{MINUS SIGN}0.075 since run bbbb0002" == headlines(found)[0].change
    assert ["look", "look", "fact", "good"] == [badge.shape for badge in verdicts]
    assert "Nevus recall \N{GREATER-THAN OR EQUAL TO} 0.9: not met, 0.600" == verdicts[0].text


def recalls(facts: ReportFacts, values: dict[str, tuple[float, int, int]]) -> ReportFacts:
    """Return the facts with other recalls on the test set: value, cases and patients by class."""
    own = facts.scores["test", "recall", "nevus"]
    scores = {
        ("test", "recall", name): own._replace(
            class_name=name, value=value, low=0.4, high=0.95, cases=cases, patients=patients
        )
        for name, (value, cases, patients) in values.items()
    }
    return dataclasses.replace(facts, scores=facts.scores | scores)


def test_the_first_screen_says_how_many_of_each_malignant_class_were_missed(facts):
    found = recalls(facts, {"nevus": (0.2, 20, 20), "malignant_melanoma": (0.25, 12, 9), "keratosis": (0.0, 1, 1)})
    melanoma, lowest = findings(found)

    # 9 were missed, and the matrix knows of 3 of them only: nothing is said of the others
    assert "Of 12 cases of malignant melanoma (9 patients), 3 were recognised (95% interval 40–95%); " == melanoma.text
    assert ("9 were missed", ".") == (melanoma.link, melanoma.rest)
    assert "part=test&truth=malignant_melanoma&outcome=wrong" == melanoma.selection
    assert lowest.text.startswith("Of 20 cases of nevus (20 patients), 4 were recognised (")


def test_missed_cases_that_were_predicted_as_benign_are_counted(small, facts):
    (melanoma,) = findings(facts)
    cells = {cell: number.cases for cell, number in facts.matrices["test"].items() if cell[0] == "malignant_melanoma"}

    assert {"nevus": 3, "malignant_melanoma": 1} == {predicted: number for (_, predicted), number in cells.items()}
    assert (
        "Of 4 cases of malignant melanoma (3 patients), 1 was recognised, not enough to say how often; "
        == melanoma.text
    )
    assert ("3 were missed", ", all predicted as a benign class.") == (melanoma.link, melanoma.rest)
    assert f'{melanoma.text}<a href="#{melanoma.selection.replace("&", "&amp;")}">3 were missed</a>' in small.text


def test_a_class_of_which_nothing_was_missed_is_said_so(facts):
    found = recalls(facts, {"malignant_melanoma": (1.0, 12, 9), "nevus": (1.0, 12, 9), "keratosis": (1.0, 12, 9)})
    (melanoma,) = findings(found)

    assert f"{melanoma.text}{melanoma.rest}".endswith("12 were recognised (95% interval 40–95%); none was missed.")
    assert "" == melanoma.link


def test_one_case_and_classes_that_were_never_recognised_are_said_in_words(facts):
    found = recalls(facts, {"malignant_melanoma": (0.0, 1, 1), "nevus": (1.0, 12, 9), "keratosis": (1.0, 12, 9)})
    (melanoma,) = findings(found)
    (recognised,) = findings(recalls(facts, {"malignant_melanoma": (1.0, 1, 1), "nevus": (1.0, 12, 9)}))
    none, _ = findings(recalls(facts, {"malignant_melanoma": (0.0, 3, 3), "nevus": (0.9, 20, 9)}))

    assert "The only case of malignant melanoma was missed; one case says nothing of how often." == "".join(
        melanoma[:3]
    )
    assert "The only case of malignant melanoma was recognised; one case says nothing of how often." == "".join(
        recognised[:3]
    )
    assert (
        "Of 3 cases of malignant melanoma (3 patients), none was recognised, not enough to say how often; " == none.text
    )


def test_the_most_harmful_confusion_is_the_harm_times_the_cases(facts):
    found = headlines(facts)[-1]
    of_melanoma = facts.scores["test", "recall", "malignant_melanoma"]

    # three melanomas as nevus cost 10 each, two nevi as melanoma 2 each
    assert ("most harmful confusion", f"3 of {of_melanoma.cases}") == (found.name, found.number)
    assert "malignant melanoma predicted as nevus, harm 10 each" == found.note
    assert "part=test&truth=malignant_melanoma&predicted=nevus" == found.selection


def test_a_number_that_rests_on_too_little_is_no_headline(small):
    # the test set of the small run has 9 cases
    first = small.text.partition('<ul class="headlines">')[2].partition("</ul>")[0]

    assert "9 cases: too few for a headline number" in first
    assert not re.search(r'class="number">[01]\.\d', first)


def test_the_validation_set_says_what_was_chosen_on_it_and_stands_folded_behind_test(small, capsys):
    said = "The validation set was used to choose the temperature and thresholds, so its numbers are optimistic."
    tables = small.text.partition('id="per-class"')[2].partition("</section>")[0]
    own = tables.partition("<summary>Metrics per class, validation set</summary>")[2]
    matrix = small.text.partition("<h3>Confusion matrix, validation set</h3>")[2]
    show_scores(small.workspace, "aaaa0001")

    assert own.lstrip().startswith(f'<p class="chosen">{said}</p>')
    assert '<details class="more"><summary>Metrics per class, validation set</summary>' in tables
    assert matrix.lstrip().startswith(f'<p class="chosen">{said}</p>')
    assert said in " ".join(capsys.readouterr().out.split())
    assert said not in tables.partition("<summary>Metrics per class, validation set</summary>")[0]


@pytest.mark.soak
def test_no_badge_is_judged_on_the_validation_set(tmp_path):
    asked = [{"metric": "accuracy", "at_least": 0.01}, {"metric": "recall", "class_name": "nevus", "at_least": 0.01}]
    study = a_study(conditions=asked)
    workspace = a_registry(tmp_path, study, [row for row in CASES if row[0] != "test"])
    evaluate(workspace, study)
    found = badges(gather(workspace, study, "aaaa0001"))
    page = Path(report(workspace, study).page).read_text(encoding="utf-8")

    assert [] == [badge for badge in found if badge.link in ("calibration", "operating", "groups", "control")]
    assert ["Only the validation set was evaluated: nothing is judged on it"] == [
        badge.text for badge in found if badge.link == "per-class"
    ]
    head = page.partition('<ul class="headlines">')[0]
    assert "was used to choose the temperature and thresholds, so its numbers are optimistic" in head


@pytest.mark.parametrize(("few", "shape", "word"), [(True, "fact", "cannot be told"), (False, "good", "met")])
def test_a_condition_is_not_met_by_few_patients(facts, few, shape, word):
    score = facts.scores["test", "recall", "nevus"]._replace(value=0.95, low=0.85, high=0.99, too_few=few)
    found = dataclasses.replace(facts, scores={("test", "recall", "nevus"): score})
    badge = judged(found, Condition(metric="recall", class_name="nevus", at_least=0.8))

    assert (shape, True) == (badge.shape, f": {word}, 0.950" in badge.text)


def calibration_verdicts(*, patients: int, logits: float, studies: int) -> Counter:
    """Return the verdicts on studies whose model's logits are too large by a factor; two cases of each patient."""
    study, rng, verdicts = a_study(), np.random.default_rng(11), Counter()
    for _ in range(studies):
        true = np.repeat(rng.normal(0, 1.2, (patients, 1, 3)), 2, axis=1) + rng.normal(0, 0.8, (patients, 2, 3))
        true = true.reshape(-1, 3)
        chances = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
        truth = (rng.random((len(true), 1)) > chances.cumsum(axis=1)).sum(axis=1)
        said = np.exp(logits * true) / np.exp(logits * true).sum(axis=1, keepdims=True)
        data = ClassArrays(truth, said.argmax(axis=1), said, np.repeat(np.arange(patients), 2))
        rows = Scorer(study, data, EvaluationKey("r", "test", "t")).rows()
        scores = {row["metric"]: Score(**row) for row in rows if row["class_name"] is None}
        verdicts[calibration_verdict(scores)] += 1
    return verdicts


@pytest.mark.soak
def test_calibration_is_called_good_only_where_the_data_could_have_shown_otherwise():
    few = calibration_verdicts(patients=60, logits=1.5, studies=60)
    many = calibration_verdicts(patients=1500, logits=1.5, studies=6)
    calibrated = calibration_verdicts(patients=1500, logits=1, studies=12)

    assert 0.05 >= few["good"] / 60
    assert {"look": 6} == dict(many)
    assert calibrated["good"] >= 9


@pytest.mark.parametrize("q", [0.04, 1.0])
def test_a_group_is_called_the_worst_only_where_q_says_so(small, q):
    nothing = {"group_name": "site", "class_name": None, "metric": "accuracy", "worst": True, "confidence": 0.95}
    row = nothing | {"group_value": "arm", "difference": -0.1, "q": q, "run_id": "aaaa0001", "part": "test"}
    row |= {"method": "none", "replicates": 0, "cases": 20, "patients": 20, "truth_id": "t"}
    with small.workspace.writing() as connection:
        insert(connection, "subgroup_scores", pa.Table.from_pylist([row]))
    try:
        found = badges(gather(small.workspace, small.study, "aaaa0001"))
    finally:
        with small.workspace.writing() as connection:
            connection.execute("delete from subgroup_scores")

    assert (q < 0.05) == ("Worst group: site arm" in [badge.text for badge in found])


@pytest.mark.parametrize(
    ("high", "expected"),
    [
        (-0.1, ("good", "Macro recall is 0.300 lower with a blank photograph")),
        (0.1, ("look", "Macro recall is not clearly lower with a blank photograph")),
    ],
)
def test_a_run_beats_its_control_or_not(facts, high, expected):
    row = {"control": "blank", "part": "test", "metric": "macro_recall", "difference": -0.3, "low": -0.5, "high": high}
    found = dataclasses.replace(facts, evaluation=facts.evaluation._replace(controls=[row]))

    assert expected in [(badge.shape, badge.text) for badge in badges(found)]


@pytest.mark.soak_after(1)
@pytest.mark.parametrize("directions", ["one", "other", "both"])
def test_a_run_stands_once_on_the_leaderboard_with_its_difference_to_the_best(tmp_path, directions):
    study = a_study()
    workspace = a_registry(tmp_path, study)
    evaluate(workspace, study)
    nothing = {"part": "test", "metric": "macro_recall", "class_name": None, "cause": "model", "confidence": 0.95}
    nothing |= {"value": 0.4, "other_value": 0.4, "method": "none", "replicates": 0, "cases": 9, "patients": 7}
    nothing |= {"truth_id": "t", "p": 0.25, "p_corrected": None}
    turned = {
        "one": {"run_id": "aaaa0001", "other_run_id": "bbbb0002", "difference": -0.1, "low": -0.2, "high": 0.05},
        "other": {"run_id": "bbbb0002", "other_run_id": "aaaa0001", "difference": 0.1, "low": -0.05, "high": 0.2},
    }
    with workspace.writing() as connection:
        connection.execute("insert into runs by name select * replace ('bbbb0002' as run_id) from runs")
        connection.execute(
            "insert into scores by name select * replace ('bbbb0002' as run_id, value - 0.1 as value) from scores"
        )
        compared = [nothing | turned[name] for name in turned if directions in (name, "both")]
        insert(connection, "comparisons", pa.Table.from_pylist(compared))
    best, other = workspace.rows(sql.statement("report/runs"))

    assert ("aaaa0001", "aaaa0001", None) == (best["run_id"], best["best_run_id"], best["difference"])
    assert ("bbbb0002", "aaaa0001", 0.25) == (other["run_id"], other["best_run_id"], other["p"])
    assert (-0.1, -0.2, 0.05) == (other["difference"], other["difference_low"], other["difference_high"])


def test_the_index_lists_every_page(small):
    index = (Path(small.report.page).parents[1] / "index.html").read_text(encoding="utf-8")

    assert 'href="aaaa0001/index.html"' in index


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


def drawn_lines(svg: str) -> list[np.ndarray]:
    """Return the curves of a figure, points (P, 2) in the units of its axes: all that is drawn between the axes."""
    groups = {g: ET.fromstring(svg).find(f".//*[@id='matplotlib.axis_{g}']") for g in (1, 2)}
    scales = []
    for axis, group in groups.items():
        paths = [path.attrib["d"].split() for path in group.iterfind(".//{*}path") if "clip-path" in path.attrib]
        labels = ["".join(text.itertext()) for text in group.iterfind(".//{*}text")]
        numbers = [float(label.replace("\N{MINUS SIGN}", "-")) for label in labels[: len(paths)]]
        scales.append(np.polyfit([float(path[axis]) for path in paths], numbers, 1))
    lines = []
    for path in ET.fromstring(svg).iterfind(".//{*}path"):
        if "stroke-width: 1.6" in path.get("style", "") or "stroke-width: 1.2" in path.get("style", ""):
            numbers = np.array([float(word) for word in path.attrib["d"].split() if word not in "MLz"]).reshape(-1, 2)
            points = np.column_stack([np.polyval(scale, numbers[:, side]) for side, scale in enumerate(scales)])
            lines += [points] if points[0, 0] <= 1 else []
    return lines


def test_the_decision_curve_draws_what_its_table_says_below_0_too_and_nothing_else(small):
    svg = (Path(small.report.page).parent / "figures" / "decision.svg").read_text(encoding="utf-8")
    rows = [
        {name: float(row[name]) for name in ("threshold", "net_benefit", "everyone")}
        for row in small.rows("decision_curve.csv")
    ]
    lines, drawn = drawn_lines(svg), 0
    at = np.array([row["threshold"] for row in rows])

    assert min(row["net_benefit"] for row in rows) < 0
    assert 3 == len(lines)
    for name in ("net_benefit", "everyone"):
        value = np.array([row[name] for row in rows])
        alike = [line for line in lines if abs(line[0, 1] - value[0]) < 1e-3]
        (line,) = [line for line in alike if abs(np.interp(0.1, *line.T) - np.interp(0.1, at, value)) < 1e-3]
        inside = value >= line[:, 1].min()
        drawn += inside.sum()

        assert np.interp(at[inside], *line.T) == pytest.approx(value[inside], abs=2e-3)
        assert (value[~inside] < 0).all()
    assert drawn > len(rows)


@pytest.mark.parametrize("name", ["roc", "pr", "reliability", "losses", "decision"])
def test_no_label_has_a_line_between_the_axes(small, name):
    path = Path(small.report.page).parent / "figures" / f"{name}.svg"
    expected = {"roc": 2, "pr": 2, "reliability": 3, "losses": 2, "decision": 3}[name]
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    inner = [path.attrib["d"].split() for path in root.iterfind(".//{*}path") if "clip-path" in path.attrib]
    right = max(float(word[1]) for word in inner if len(word) == 6)
    starts = [
        float(path.attrib["d"].split()[1])
        for path in root.iterfind(".//{*}path")
        if any(width in path.get("style", "") for width in ("stroke-width: 1.6", "stroke-width: 1.2"))
    ]

    assert expected == sum(start <= right for start in starts)
    assert expected == sum(start > right for start in starts)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.proportion(-0.12345), "\N{MINUS SIGN}0.123"),
        (formatting.proportion(float("nan")), "\N{EN DASH}"),
        (formatting.chance(0.0004), "<0.001"),
        (formatting.chance(0.04), "0.040"),
        (formatting.interval(0.1, 0.25), "0.100\N{EN DASH}0.250"),
        (formatting.interval(float("nan"), 1), "no interval"),
        (formatting.count(1234567), "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"),
        (formatting.support(1, 2), "1 case / 2 patients"),
        (formatting.support(None, None), "suppressed"),
        (formatting.counted(None, "patient"), "a suppressed number of patients"),
        (formatting.subset("train"), "training set"),
        (formatting.group_name("fitzpatrick", "4"), "Fitzpatrick skin type IV"),
        (formatting.group_name("capture_site", "(none)"), "capture site not recorded"),
        (formatting.detection("malignant", 31, 33), "In 31 of 33 patients every malignant lesion was detected"),
        (
            formatting.confirmation(0.9, confirmed=False, detected=31, patients=33, of_lesions=0.95),
            "too few patients to confirm sensitivity ≥ 0.9 of patients and of lesions",
        ),
        (
            formatting.confirmation(0.95, confirmed=False, detected=99, patients=100, of_lesions=0.786),
            "sensitivity ≥ 0.95 of lesions not reached",
        ),
        (
            formatting.confirmation(0.95, confirmed=False, detected=31, patients=33, of_lesions=0.9),
            "sensitivity ≥ 0.95 of patients and of lesions not reached",
        ),
        (
            formatting.confirmation(0.95, confirmed=False, detected=None, patients=33, of_lesions=0.9),
            "sensitivity ≥ 0.95 of patients and of lesions not confirmed",
        ),
        (
            formatting.confirmation(0.95, confirmed=True, detected=99, patients=99, of_lesions=1.0),
            "sensitivity ≥ 0.95 of patients and of lesions confirmed",
        ),
        (formatting.percent(0.999), "99.9%"),
        (formatting.model_name("/a/b/c"), "c"),
        (formatting.model_name("org/model"), "org/model"),
        (formatting.clean("PAT 7.JPG twice"), "PAT [file name removed] twice"),
        (formatting.clean("read and/or write 1/2 /a/b.jpg"), "read and/or write 1/2 [path removed]"),
    ],
)
def test_numbers_and_texts_are_written_for_a_reader(written, expected):
    assert expected == written
