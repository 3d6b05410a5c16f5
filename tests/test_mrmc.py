"""Reader studies: the published ones, and those that stand in Labelbox projects."""

import csv
import datetime as dt
import json

import exports
import numpy as np
import pytest
from exports import label, radio, row
from sklearn.metrics import roc_auc_score

from toolkit.console import show
from toolkit.errors import StudyError, WorkspaceError
from toolkit.formatting import signed
from toolkit.manifest.readers import ReaderArm, ReadersSection
from toolkit.stages.parse import parse
from toolkit.stages.readers import FEW_WAYS, NOT_CROSSED, readers
from toolkit.stages.withdraw import withdraw
from toolkit.stats import delong, mrmc
from toolkit.workspace import reader_studies, sql

STUDIES = {"van_dyke": (1, 2), "franken": (1, 2), "kundel": (2, 3)}


class Published:
    """A reader study: ratings (2, J, N), which cases are positive, and its published results."""

    def __init__(self, folder, name):
        self.document = json.loads((folder / f"mrmc_{name}.json").read_text())
        with (folder / f"mrmc_{name}.csv").open(newline="") as file:
            rows = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
        modalities = STUDIES[name]
        rows = [row for row in rows if row["modality"] in modalities]
        cases = sorted({row["case"] for row in rows})
        readers = sorted({row["reader"] for row in rows})
        self.ratings = np.full((2, len(readers), len(cases)), np.nan)
        self.positive = np.zeros(len(cases), dtype=bool)
        for rated in rows:
            place = cases.index(rated["case"])
            at = (modalities.index(rated["modality"]), readers.index(rated["reader"]), place)
            self.ratings[at] = rated["rating"]
            self.positive[place] = rated["truth"]
        assert not np.isnan(self.ratings).any()
        self.flat = self.ratings.reshape(-1, len(cases))
        auc, left = mrmc.areas(self.positive, self.flat, np.arange(len(cases)), units=len(cases))
        self.values = auc.reshape(2, -1)
        self.covariances = {
            "jackknife": mrmc.jackknife(left.reshape(len(left), *self.values.shape)),
            "delong": delong.covariance(delong.placements(self.positive, self.flat)),
            "unbiased": mrmc.unbiased(self.positive, self.flat),
        }


@pytest.fixture(params=STUDIES)
def published(request, shared):
    return Published(shared / "reference_values", request.param)


@pytest.fixture
def van_dyke(shared):
    return Published(shared / "reference_values", "van_dyke")


def agrees(expected, value, *, last_digit=0.5):
    """Tell whether a printed number is this value, to half of its last digit (and a float's noise)."""
    text = f"{expected:.12g}" if "e" not in repr(expected) else f"{expected:.15f}".rstrip("0")
    digits = len(text.partition(".")[2])
    return abs(expected - value) <= last_digit * 10.0**-digits + 1e-12


def expected_of(effect):
    return {"se": effect.error, "ddf": effect.df, "df2": effect.df, "F": effect.f, "p": effect.p, "chi2": effect.f}


@pytest.mark.parametrize("method", ["delong", "jackknife", "unbiased"])
def test_components_and_tests_are_the_recomputed_ones(published, method):
    expected = published.document["recomputed"][method]
    covariance = published.covariances[method]
    parts = mrmc.components(published.values, covariance)
    difference = mrmc.random_readers(published.values, covariance, confidence=0.95).difference

    for name in ("cov1", "cov2", "cov3", "var_error"):
        assert expected[name] == pytest.approx(getattr(parts, name), abs=1e-12), name
    for name in ("F", "ddf", "p", "se"):
        assert expected[name] == pytest.approx(expected_of(difference)[name], rel=1e-9), name
    assert expected["ci"] == pytest.approx([difference.low, difference.high], abs=1e-11)
    if "difference" in expected:
        assert expected["difference"] == pytest.approx(difference.value, abs=1e-12)
        assert np.array(expected["reader_auc"]) == pytest.approx(published.values, abs=1e-12)


@pytest.mark.parametrize("method", ["delong", "jackknife", "unbiased"])
def test_every_printed_result_of_random_readers_and_cases(published, method):
    printed = published.document["expected"].get(method, {})
    covariance = published.covariances[method]
    parts = mrmc.components(published.values, covariance)
    inference = mrmc.random_readers(published.values, covariance, confidence=0.95)
    readers = published.values.shape[1]
    denominator = parts.ms_modality_reader + readers * max(parts.cov2 - parts.cov3, 0)
    of_difference = {
        **parts._asdict(),
        **expected_of(inference.difference),
        "denominator": denominator,
        "df1": 1,
        "difference": inference.difference.value,
        "t": inference.difference.value / inference.difference.error,
        **{f"corr{n}": getattr(parts, f"cov{n}") / parts.var_error for n in (1, 2, 3)},
    }

    for name, value in printed.items():
        if name in of_difference:
            assert agrees(value, of_difference[name], last_digit=1), name
        elif name == "ci":
            assert all(map(agrees, value, inference.difference[2:4]))
        elif name == "modality_auc":
            assert all(map(agrees, value, published.values.mean(axis=1)))
        else:
            assert name == "single"
    for single in printed.get("single", []):
        effect = inference[single["modality"] - 1]
        assert agrees(single["auc"], effect.value)
        assert agrees(single["se"], effect.error)
        assert agrees(single["df"], effect.df)
        assert all(map(agrees, single["ci"], effect[2:4]))


def test_every_printed_result_of_fixed_readers(published):
    printed = published.document["expected"].get("fixed_readers_jackknife")
    if printed is None:
        pytest.skip("no result of fixed readers was published for this study")
    covariance = published.covariances["jackknife"]
    inference = mrmc.fixed_readers(published.values, covariance, confidence=0.95)
    difference = inference.difference

    assert agrees(printed["chi2"], difference.f)
    assert agrees(printed["p"], difference.p)
    assert agrees(printed["difference"], difference.value)
    assert agrees(printed["se"], difference.error)
    assert agrees(printed["z"], difference.value / difference.error)
    assert all(map(agrees, printed["ci"], difference[2:4]))
    for single in printed.get("single", []):
        effect = inference[single["modality"] - 1]
        assert agrees(single["se"], effect.error)
        assert all(map(agrees, single["ci"], effect[2:4]))
    for own in printed["by_reader"]:
        effect = mrmc.of_reader(published.values, covariance, own["reader"] - 1, confidence=0.95).difference
        assert agrees(own["difference"], effect.value)
        assert agrees(own["se"], effect.error)
        assert agrees(own["p"], effect.p)
        assert all(map(agrees, own["ci"], effect[2:4]))
    for expected, variance in zip(np.ravel(printed.get("reader_se", [])), np.diag(covariance), strict=False):
        assert agrees(expected, np.sqrt(variance))


def test_every_printed_result_of_fixed_cases(published):
    printed = published.document["expected"].get("fixed_cases")
    if printed is None:
        pytest.skip("no result of fixed cases was published for this study")
    difference = mrmc.fixed_cases(published.values, confidence=0.95).difference

    for name in ("F", "df2", "p", "se"):
        assert agrees(printed[name], expected_of(difference)[name]), name
    assert all(map(agrees, printed["ci"], difference[2:4]))


@pytest.mark.parametrize("nested_in", ["readers", "modalities"])
def test_designs_in_which_readers_or_modalities_have_cases_of_their_own(van_dyke, nested_in):
    printed = van_dyke.document["expected"]["nested_jackknife"][f"cases_nested_in_{nested_in}"]
    readers, cases = van_dyke.values.shape[1], len(van_dyke.positive)
    _, left = mrmc.areas(van_dyke.positive, van_dyke.flat, np.arange(cases), units=cases)
    left = left.reshape(cases, 2, readers)
    blocks = readers if nested_in == "readers" else 2
    every = np.tile(van_dyke.values, (blocks * cases, 1, 1))
    for block in range(blocks):
        own = (slice(None), block) if nested_in == "readers" else (block, slice(None))
        every[(slice(block * cases, (block + 1) * cases), *own)] = left[(slice(None), *own)]
    covariance = mrmc.jackknife(every).reshape(2, readers, 2, readers)
    apart = 1 - np.eye(readers if nested_in == "readers" else 2)
    covariance *= 1 - (apart[None, :, None, :] if nested_in == "readers" else apart[:, None, :, None])
    covariance = covariance.reshape(2 * readers, 2 * readers)
    parts = mrmc.components(van_dyke.values, covariance)
    difference = mrmc.random_readers(van_dyke.values, covariance, confidence=0.95).difference

    for name in ("var_error", "cov1", "cov2", "cov3"):
        assert agrees(printed[name], getattr(parts, name)), name
    for name in ("F", "ddf", "p", "se"):
        assert agrees(printed[name], expected_of(difference)[name]), name
    assert all(map(agrees, printed["ci"], difference[2:4]))


def test_sensitivity_as_the_figure_of_merit(van_dyke):
    printed = van_dyke.document["expected"]["sensitivity_jackknife"]
    called = (van_dyke.ratings >= 3)[:, :, van_dyke.positive]
    count = called.shape[2]
    values = called.mean(axis=2)
    # The units are the positives alone: leaving out a negative changes nothing.
    covariance = mrmc.jackknife(np.moveaxis((called.sum(axis=2, keepdims=True) - called) / (count - 1), 2, 0))
    parts = mrmc.components(values, covariance)
    difference = mrmc.random_readers(values, covariance, confidence=0.95).difference

    assert np.array(printed["values"]) == pytest.approx(values, abs=5e-4)
    for name in ("var_error", "cov1", "cov2", "cov3", "ms_modality", "ms_modality_reader"):
        assert agrees(printed[name], getattr(parts, name)), name
    for name in ("F", "ddf", "p", "se"):
        assert agrees(printed[name], expected_of(difference)[name]), name
    assert all(map(agrees, printed["ci"], difference[2:4]))


def test_areas_without_each_unit_are_those_computed_without_it():
    rng = np.random.default_rng(5)
    unit = np.sort(rng.integers(0, 12, 40))
    _, unit = np.unique(unit, return_inverse=True)
    positive = rng.random(40) < 0.4
    ratings = rng.integers(1, 6, (3, 40)).astype(float)
    auc, left = mrmc.areas(positive, ratings, unit, units=unit.max() + 1)

    for one in range(unit.max() + 1):
        stays = unit != one
        expected = delong.placements(positive[stays], ratings[:, stays]).auc
        assert expected == pytest.approx(left[one], abs=1e-12)
    assert delong.placements(positive, ratings).auc == pytest.approx(auc)


def test_nothing_that_varies_gives_no_interval():
    values = np.ones((2, 3))
    covariance = np.zeros((6, 6))

    for inference in (
        mrmc.random_readers(values, covariance, confidence=0.95),
        mrmc.fixed_readers(values, covariance, confidence=0.95),
        mrmc.fixed_cases(values, confidence=0.95),
    ):
        assert [0.0] * 4 == [inference.difference.value, *[float(np.isfinite(x)) for x in inference.difference[1:4]]]


MINE, THEIRS = "unaided-reads", "aided-reads"
PEOPLE = ("anna@example.org", "bert@example.org", "cleo@example.org")
EXPERT = "expert@example.org"


def read_row(image, patient, unaided, aided, *, expert=None, rating=None):
    """Return an export's row: each person's class in the two projects, and an expert's in a third."""

    whole = row(image, patient=patient)
    project = whole["projects"].pop("project-1")
    whole["projects"] = {}
    for name, classes in ((MINE, unaided), (THEIRS, aided), ("expert-reads", {EXPERT: expert} if expert else {})):
        labels = []
        for person, class_name in classes.items():
            one = label(f"{name}-{image}-{person[0]}", class_name, by=person)
            if rating:
                one["annotations"]["classifications"].append(radio(rating(class_name), question="suspicion"))
            labels.append(one)
        if labels:
            whole["projects"][name] = {**project, "name": name, "labels": labels}
    return whole


@pytest.fixture
def reading_study(study):

    labelbox = study.labelbox.model_copy(update={"projects": [MINE, THEIRS, "expert-reads"]})
    section = ReadersSection(
        unaided=ReaderArm(project=MINE), aided=ReaderArm(project=THEIRS), positive=["malignant_melanoma"]
    )
    return study.model_copy(update={"labelbox": labelbox, "readers": section})


def parsed_study(workspace, study, key, tmp_path, rows):

    parse(workspace, study, key, [exports.write(tmp_path / "reads.ndjson", rows)])
    return workspace


def simulated(rng, *, patients, people, each=2, gain=0.0):
    """Return the classes that an expert and each person give each case, without and with the model."""
    rows = []
    for patient in range(patients):
        for lesion in range(each):
            malignant = (patient + lesion) % 2 == 0
            hard = rng.normal()
            said = {}
            for way, shift in ((MINE, 0.0), (THEIRS, gain)):
                right = {p: rng.normal() + hard + 1.0 + shift > 0 for p in people}
                said[way] = {p: ("melanoma" if ok == malignant else "nevus") for p, ok in right.items()}
            rows.append((patient, lesion, "melanoma" if malignant else "nevus", said))
    return rows


def with_expert(study):
    return study.model_copy(
        update={"ingest": study.ingest.model_copy(update={"policy": "annotator", "annotator": EXPERT})}
    )


def by_hand(rows, people):
    """Return the values and the difference's test of sensitivity, from loops over patients."""
    patients = sorted({row[0] for row in rows if row[2] == "melanoma"})

    def values(without=None):
        own = [row for row in rows if row[2] == "melanoma" and row[0] != without]
        return [[np.mean([row[3][way][p] == "melanoma" for row in own]) for p in people] for way in (THEIRS, MINE)]

    left = np.array([values(patient) for patient in patients]).reshape(len(patients), -1)
    covariance = (len(patients) - 1) ** 2 / len(patients) * np.cov(left.T)
    theta, readers = np.array(values()), len(people)
    cov2 = np.mean([covariance[k * readers + i, k * readers + j] for k in (0, 1) for i in range(readers)
                    for j in range(readers) if i != j])  # fmt: skip
    cov3 = np.mean([covariance[i, readers + j] for i in range(readers) for j in range(readers) if i != j])
    spread = np.var(theta[0] - theta[1], ddof=1) / 2
    total = spread + readers * max(cov2 - cov3, 0)
    difference = theta[0].mean() - theta[1].mean()
    return theta.mean(axis=1), difference, difference**2 / (2 / readers * total), total**2 / spread**2 * (readers - 1)


def test_sensitivity_of_labelbox_readings_is_the_one_computed_by_hand(workspace, reading_study, key, tmp_path, capsys):
    study = with_expert(reading_study)
    rows = simulated(np.random.default_rng(3), patients=24, people=PEOPLE, gain=0.8)
    lines = [read_row(f"i{p}-{n}", f"P-{p}", s[MINE], s[THEIRS], expert=truth) for p, n, truth, s in rows]
    result = readers(parsed_study(workspace, study, key, tmp_path, lines), study)
    means, difference, f, df = by_hand(rows, PEOPLE)
    found = {
        row["reading"]: row
        for row in result.rows
        if row["metric"] == "recall" and row["inference"] == "readers and cases"
    }
    stored = workspace.rows("from reader_study where metric = 'recall' and inference = 'readers and cases'")

    show(result, as_json=False)
    words = " ".join(capsys.readouterr().out.split())

    assert signed(found["difference"]["value"]) in words
    assert "3 readers, 48 cases / 24 patients" in words
    assert (3, 48, 24) == (result.readers, result.cases, result.patients)
    assert list(means) == pytest.approx([found["aided"]["value"], found["unaided"]["value"]])
    assert difference == pytest.approx(found["difference"]["value"])
    assert (f, df) == pytest.approx((found["difference"]["f"], found["difference"]["df"]))
    assert (24, 24) == (found["aided"]["cases"], found["aided"]["patients"])
    assert found["difference"]["value"] == next(r["value"] for r in stored if r["reading"] == "difference")


def test_the_reference_of_a_reader_has_no_reading_of_theirs_and_none_with_the_model(
    workspace, reading_study, key, tmp_path
):

    anna, bert, cleo = PEOPLE
    rows = [
        # Anna against Bert and Cleo: each of these has one of each to be held against, a tie; Anna has two.
        read_row("i1", "P-1", {anna: "melanoma", bert: "nevus", cleo: "nevus"}, dict.fromkeys(PEOPLE, "melanoma")),
        *(
            read_row(f"m{n}", f"P-m{n}", dict.fromkeys(PEOPLE, "melanoma"), dict.fromkeys(PEOPLE, "melanoma"))
            for n in range(3)
        ),
    ]
    result = readers(parsed_study(workspace, reading_study, key, tmp_path, rows), reading_study)
    own = {
        (row["reader"], row["reading"]): (row["value"], row["cases"])
        for row in result.rows
        if row["metric"] == "accuracy" and row["inference"] == "one reader"
    }
    names = {who: key.pseudonym("a", who) for who in PEOPLE}
    ties = {row["reader"]: row["cases"] for row in result.left_out}

    # Aided readings have no part: all three said melanoma there, and yet Anna is held against nevus.
    assert 0.75 == own[names[anna], "unaided"][0] == own[names[anna], "aided"][0]
    assert 1.0 == own[names[bert], "unaided"][0] == own[names[cleo], "unaided"][0]
    assert {names[bert]: 1, names[cleo]: 1} == ties
    assert 12 == result.in_reference


def test_for_a_stranger_the_reference_is_the_study_s_own(parsed):

    people = [f"r{n}@example.org" for n in range(3)]
    rng = np.random.default_rng(1)
    rows = [
        row(
            f"i{n}",
            *(label(f"L{n}{p}", rng.choice(["nevus", "melanoma"]), by=p, day=1 + k) for k, p in enumerate(people[:m])),
        )
        for n, m in enumerate(rng.integers(1, 4, 30))
    ]
    workspace = parsed(*rows)
    given = {"readers": ["somebody"], "aided": [], "unaided": [], "export": ""}

    for policy in ("majority", "latest", "benchmark", "reviewed"):
        with workspace.writing() as connection:
            connection.execute("update label_states set policy = ?", [policy])
        answer = workspace.read(sql.statement("readers/reference"), given).to_pylist()
        truth = workspace.rows("select case_id, class_name from truth where class_name is not null")
        assert sorted((r["case_id"], r["class_name"]) for r in truth) == [
            (r["case_id"], r["class_name"]) for r in answer
        ], policy


def test_what_is_not_crossed_is_left_out_and_counted(workspace, reading_study, key, tmp_path):

    anna, bert, cleo = PEOPLE
    study = with_expert(reading_study)
    both = [
        read_row(f"i{n}", f"P-{n}", {anna: c, bert: c}, {anna: c, bert: c}, expert=c)
        for n, c in enumerate(["melanoma", "nevus"] * 4)
    ]
    rows = [
        *both,
        read_row("half", "P-9", {anna: "nevus", bert: "nevus"}, {anna: "nevus"}, expert="nevus"),
        read_row("cleo", "P-10", {cleo: "nevus"}, {cleo: "nevus"}, expert="nevus"),
    ]
    result = readers(parsed_study(workspace, study, key, tmp_path, rows), study)
    reasons = {(row["reason"], row["cases"]) for row in result.left_out}

    assert (2, 8) == (result.readers, result.cases)
    assert {(FEW_WAYS, 1), (NOT_CROSSED, 1)} == reasons
    assert {1.0} == {row["value"] for row in result.rows if row["reading"] == "aided"}
    assert all(np.isnan(row["low"]) for row in result.rows if row["metric"] == "recall")


@pytest.mark.soak_after(1)
@pytest.mark.parametrize(
    ("reads", "message"),
    [((PEOPLE[:1], ("melanoma", "nevus")), "fewer than two"), ((PEOPLE, ("nevus",)), "no case whose reference")],
)
def test_a_study_that_cannot_be_analysed_is_refused(workspace, reading_study, key, tmp_path, reads, message):
    people, classes = reads

    study = with_expert(reading_study)
    rows = [
        read_row(f"i{n}", f"P-{n}", dict.fromkeys(people, c), dict.fromkeys(people, c), expert=c)
        for n, c in enumerate(classes * 3)
    ]

    with pytest.raises(WorkspaceError, match=message):
        readers(parsed_study(workspace, study, key, tmp_path, rows), study)


def test_a_study_without_the_section_is_told_what_to_write(parsed, study):

    with pytest.raises(StudyError, match="names no reader study"):
        readers(parsed(row("i1", label("L1", "nevus"))), study)


def test_ratings_give_the_area_that_the_published_way_gives(workspace, reading_study, key, tmp_path):

    scale = ["surely benign", "unsure", "surely malignant"]
    rng = np.random.default_rng(8)
    section = reading_study.readers.model_copy(update={"rating": "Suspicion", "ratings": scale})
    study = with_expert(reading_study).model_copy(update={"readers": section})
    rated = {}

    def rating(class_name):
        return scale[int(np.clip(rng.integers(0, 2) + (class_name == "melanoma"), 0, 2))]

    rows = []
    for n in range(30):
        truth = "melanoma" if n % 3 == 0 else "nevus"
        said = {p: str(rng.choice([truth, "nevus"])) for p in PEOPLE}
        rows.append(read_row(f"i{n}", f"P-{n // 2}", said, said, expert=truth, rating=rating))
        for name, project in rows[-1]["projects"].items():
            for one in project["labels"]:
                answer = one["annotations"]["classifications"][-1]["radio_answer"]["name"]
                who = one["label_details"]["created_by"]
                rated.setdefault((name, who), []).append((truth == "melanoma", scale.index(answer)))
    result = readers(parsed_study(workspace, study, key, tmp_path, rows), study)
    own = {
        (row["reading"], row["reader"]): row["value"]
        for row in result.rows
        if row["metric"] == "roc_auc" and row["inference"] == "one reader"
    }

    assert 9 == len(own)
    for person in PEOPLE:
        for reading, project in (("unaided", MINE), ("aided", THEIRS)):
            expected = roc_auc_score(*zip(*rated[project, person], strict=True))
            assert expected == pytest.approx(own[reading, key.pseudonym("a", person)])


def test_two_rounds_in_one_project_are_told_apart_by_days(workspace, reading_study, key, tmp_path):

    def study_of(unaided, aided):
        section = reading_study.readers.model_copy(
            update={"unaided": ReaderArm(project=MINE, **unaided), "aided": ReaderArm(project=MINE, **aided)}
        )
        return with_expert(reading_study).model_copy(update={"readers": section})

    rows = []
    for n in range(8):
        truth = "melanoma" if n % 2 else "nevus"
        labels = [label(f"L{n}{r}{p[0]}", truth if r or n > 3 else "nevus", by=p, day=1 + 10 * r) for r in (0, 1)
                  for p in PEOPLE]  # fmt: skip
        rows.append(row(f"i{n}", *labels, label(f"E{n}", truth, by=EXPERT), patient=f"P-{n}", project=MINE))
    apart = study_of({"until": dt.date(2025, 3, 5)}, {"since": dt.date(2025, 3, 6)})
    parsed_study(workspace, apart, key, tmp_path, rows)
    result = readers(workspace, apart)
    recall = {r["reading"]: r["value"] for r in result.rows if r["metric"] == "recall" and r["inference"] == "readers"}

    assert {"unaided": 0.5, "aided": 1.0, "difference": 0.5} == recall
    with pytest.raises(WorkspaceError, match="unaided and aided at once"):
        readers(workspace, study_of({"until": dt.date(2025, 3, 5)}, {}))


@pytest.mark.soak
def test_a_changed_label_is_unaided_as_of_the_earlier_export(workspace, reading_study, key, tmp_path):

    def lines(right):
        rows = []
        for n in range(6):
            truth = "melanoma" if n % 2 else "nevus"
            labels = [exports.label(f"L{n}{p[0]}", truth if right or n > 1 else "nevus", by=p, day=2 + 8 * right)
                      for p in PEOPLE]  # fmt: skip
            expert = exports.label(f"E{n}", truth, by=EXPERT)
            line = row(f"i{n}", *labels, expert, patient=f"P-{n}", project=MINE)
            line["data_row"]["details"]["last_activity_at"] = exports.TIMES[2 + 8 * right]
            rows.append(line)
        return rows

    study = with_expert(reading_study)
    parse(workspace, study, key, [exports.write(tmp_path / "one.ndjson", lines(right=False))])
    first = workspace.rows("select export_id from exports")[0]["export_id"]
    parse(workspace, study, key, [exports.write(tmp_path / "two.ndjson", lines(right=True))])
    section = reading_study.readers.model_copy(
        update={"unaided": ReaderArm(project=MINE, export=first), "aided": ReaderArm(project=MINE)}
    )
    result = readers(workspace, study.model_copy(update={"readers": section}))
    recall = {r["reading"]: r["value"] for r in result.rows if r["metric"] == "recall" and r["inference"] == "readers"}

    assert recall == pytest.approx({"unaided": 2 / 3, "aided": 1.0, "difference": 1 / 3})


@pytest.mark.soak
def test_rebuild_reads_it_back_and_withdraw_removes_it(workspace, reading_study, key, tmp_path):

    study = with_expert(reading_study)
    rows = simulated(np.random.default_rng(4), patients=8, people=PEOPLE)
    lines = [read_row(f"i{p}-{n}", f"P-{p}", s[MINE], s[THEIRS], expert=truth) for p, n, truth, s in rows]
    parsed_study(workspace, study, key, tmp_path, lines)
    readers(workspace, study)
    before = {name: sorted(map(repr, workspace.rows(f"from {name}"))) for name in reader_studies.TABLES}
    parse(workspace, study, key, [], anew=True)
    after = {name: sorted(map(repr, workspace.rows(f"from {name}"))) for name in reader_studies.TABLES}
    withdraw(workspace, study, key, "P-3", apply=True, reparse=lambda: parse(workspace, study, key, [], anew=True))

    assert before == after
    assert before["reader_study"]
    assert [] == workspace.rows("from reader_study") == list(reader_studies.read(workspace))


def test_without_an_effect_one_in_twenty_is_significant():
    """In 400 studies of 5 readers, 40 patients with 2 cases each, sensitivity of patients' positives as the figure."""
    rng = np.random.default_rng(11)
    covered, significant = 0, 0
    for _ in range(400):
        skill, taste, hard = rng.normal(0, 0.3, 5), rng.normal(0, 0.2, (2, 5)), rng.normal(0, 0.7, (40, 1))
        lesion = hard + rng.normal(0, 0.5, (40, 2))
        right = (rng.normal(size=(2, 5, 40, 2)) + 0.9 + (skill + taste)[:, :, None, None] + lesion) > 0
        hits = right.sum(axis=3).astype(float)
        total = hits.sum(axis=2, keepdims=True)
        left = np.moveaxis((total - hits) / 78, 2, 0)
        effect = mrmc.random_readers(total[..., 0] / 80, mrmc.jackknife(left), confidence=0.95).difference
        covered += effect.low <= 0 <= effect.high
        significant += effect.p < 0.05

    assert 400 - covered == significant
    assert significant / 400 <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 400)
