from toolkit.cases import Box, LabelledBox, Submission, case_id_of, find_cases

LEFT, RIGHT = Box(10, 10, 40, 40), Box(120, 20, 40, 40)


def submission(label_id, *boxes, answers=(), revision=1, latest=True, skipped=False):
    return Submission(label_id, revision, latest, skipped, f"reader of {label_id}", boxes, answers)


def readings(photograph):
    return {lesion.case_id: [(r.label_id, r.answer) for r in lesion.readings] for lesion in photograph.lesions}


def test_iou_is_shared_area_over_joint_area():
    assert 1.0 == LEFT.iou(LEFT)
    assert 0.0 == LEFT.iou(RIGHT)
    assert 600 / 2600 == Box(0, 0, 40, 40).iou(Box(25, 0, 40, 40))


def test_a_box_is_clipped_to_its_photograph():
    assert Box(0, 0, 30, 20) == Box(-10, -20, 40, 40).clipped(200, 100)
    assert None is Box(300, 0, 10, 10).clipped(200, 100)


def test_a_photograph_without_boxes_is_one_case():
    photograph = find_cases("i", [submission("a", answers=("nevus",)), submission("b", answers=("melasma",))], iou=0.5)

    assert {case_id_of("i", ""): [("a", "nevus"), ("b", "melasma")]} == readings(photograph)
    assert None is photograph.lesions[0].roi


def test_two_lesions_on_one_photograph_are_two_cases_whatever_the_order_of_the_boxes():
    first = submission("a", LabelledBox("a1", LEFT, ("nevus",)), LabelledBox("a2", RIGHT, ("melasma",)))
    moved = Box(122, 24, 40, 40)
    second = submission("b", LabelledBox("b1", moved, ("ephelis",)), LabelledBox("b2", LEFT, ("nevus",)))

    photograph = find_cases("i", [first, second], iou=0.5)

    expected = {
        case_id_of("i", "a1"): [("a", "nevus"), ("b", "nevus")],
        case_id_of("i", "a2"): [("a", "melasma"), ("b", "ephelis")],
    }
    assert expected == readings(photograph)
    assert Box(121, 22, 40, 40) == photograph.lesions[1].roi
    assert [] == photograph.findings


def test_a_moved_and_relabelled_box_keeps_its_case():
    before = submission("a", LabelledBox("a1", LEFT, ("nevus",)), latest=False)
    after = submission("a", LabelledBox("a1", RIGHT, ("melasma",)), revision=2)

    photograph = find_cases("i", [before, after], iou=0.5)

    assert {case_id_of("i", "a1"): [("a", "melasma")]} == readings(photograph)
    assert RIGHT == photograph.lesions[0].roi


def test_a_box_drawn_anew_at_the_same_place_keeps_its_case():
    before = submission("a", LabelledBox("a1", LEFT, ("nevus",)), latest=False)
    after = submission("a", LabelledBox("new", Box(11, 11, 40, 40), ("nevus",)), revision=2)

    assert [case_id_of("i", "a1")] == list(readings(find_cases("i", [before, after], iou=0.5)))


def test_a_box_that_only_an_old_revision_had_is_no_case():
    before = submission("a", LabelledBox("a1", LEFT, ("nevus",)), LabelledBox("a2", RIGHT, ("nevus",)), latest=False)
    after = submission("a", LabelledBox("a1", LEFT, ("nevus",)), revision=2)

    assert [case_id_of("i", "a1")] == list(readings(find_cases("i", [before, after], iou=0.5)))


def test_a_box_that_not_every_annotator_drew_is_a_finding():
    first = submission("a", LabelledBox("a1", LEFT, ("nevus",)), LabelledBox("a2", RIGHT, ("melasma",)))
    second = submission("b", LabelledBox("b1", LEFT, ("nevus",)))

    photograph = find_cases("i", [first, second], iou=0.5)

    assert ["unmatched_box"] == [finding.kind for finding in photograph.findings]
    assert 2 == len(photograph.lesions)


def test_a_box_over_two_lesions_is_a_finding():
    first = submission("a", LabelledBox("a1", Box(0, 0, 40, 40), ()), LabelledBox("a2", Box(0, 30, 40, 40), ()))
    second = submission("b", LabelledBox("b1", Box(0, 10, 40, 50), ("nevus",)))

    assert "ambiguous_box" in [finding.kind for finding in find_cases("i", [first, second], iou=0.3).findings]


def test_one_answer_for_two_lesions_is_a_finding_and_no_reading():
    both = submission("a", LabelledBox("a1", LEFT, ()), LabelledBox("a2", RIGHT, ()), answers=("nevus",))

    photograph = find_cases("i", [both], iou=0.5)

    assert [[], []] == list(readings(photograph).values())
    assert ["ambiguous_answer"] == [finding.kind for finding in photograph.findings]


def test_an_answer_about_the_photograph_is_read_where_it_has_one_case():
    photograph = find_cases("i", [submission("a", LabelledBox("a1", LEFT, ()), answers=("nevus",))], iou=0.5)

    assert [("a1", "nevus")] == [(r.object_id, r.answer) for r in photograph.lesions[0].readings]


def test_the_answer_nested_in_a_box_comes_first():
    photograph = find_cases("i", [submission("a", LabelledBox("a1", LEFT, ("melasma",)), answers=("nevus",))], iou=0.5)

    assert ["melasma"] == [reading.answer for reading in photograph.lesions[0].readings]


def test_two_answers_to_one_question_are_ambiguous_unless_they_say_the_same():
    twice = find_cases("i", [submission("a", answers=("nevus", "nevus"))], iou=0.5).lesions[0]
    torn = find_cases("i", [submission("a", answers=("nevus", "melasma"))], iou=0.5).lesions[0]

    assert (1, 0) == (len(twice.readings), len(twice.ambiguous))
    assert (0, 1) == (len(torn.readings), len(torn.ambiguous))


def test_skipped_labels_and_old_revisions_give_no_reading():
    old = submission("a", answers=("nevus",), latest=False)
    new = submission("a", answers=("melasma",), revision=2)
    skipped = submission("b", answers=("ephelis",), skipped=True)

    assert [[("a", "melasma")]] == list(readings(find_cases("i", [old, new, skipped], iou=0.5)).values())
