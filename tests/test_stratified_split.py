import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from published import pad_patients

from toolkit.errors import SplitError
from toolkit.stats.stratified_split import SplitTarget, count_groups, integer_bound, stratified_group_split

THREE = [0.6, 0.2, 0.2]


def pad_of(shared, **strata):
    with (shared / "pad_ufes_20" / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return count_groups(
        [r["patient_id"] for r in rows],
        {
            "class": [r["diagnostic"] for r in rows],
            **{name: [r[field] for r in rows] for name, field in strata.items()},
        },
    )


def farthest(made, stratum):
    """Return the largest distance and the largest bound of a stratum."""
    rows = [row for row in made.strata() if row.stratum == stratum]
    return max(row.distance for row in rows), max(row.bound for row in rows)


@pytest.mark.parametrize(
    ("target", "least", "bound"),
    [
        ([6, 2, 2], 0, 0),
        ([6.6, 2.2, 2.2], 0, 0.4),
        ([4.2, 1.4, 1.4], 0, 0.6),
        ([4.8, 1.6, 1.6], 0, 0.6),
        ([0.6, 0.2, 0.2], 0, 0.4),
        ([4.2, 1.4, 1.4], 2, 1.2),
        ([2.5, 2.5], 0, 0.5),
        ([0.6, 0.2, 0.2], 1, float("inf")),
    ],
)
def test_the_bound_is_what_whole_cases_permit(target, least, bound):
    assert bound == pytest.approx(integer_bound(np.array(target), least))


@given(st.integers(1, 60), st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_the_bound_is_that_of_trying_everything(total, shares):
    target = np.array(shares) * total / sum(shares)
    tried = np.stack(np.meshgrid(*[np.arange(total + 1)] * (len(target) - 1)), -1).reshape(-1, len(target) - 1)
    tried = np.c_[tried, total - tried.sum(axis=1)]

    assert np.abs(tried[tried[:, -1] >= 0] - target).max(axis=1).min() == pytest.approx(integer_bound(target))


def test_groups_stay_whole_and_counts_are_as_stated():
    table = count_groups(["a", "a", "b", "c", "c", "d"], {"class": ["x", "y", "x", "y", "y", "x"]})
    made = stratified_group_split(table, SplitTarget([0.5, 0.5], uneven=True), seed=1)
    of_case = made.part_of[table.group_of]

    assert of_case[0] == of_case[1]
    assert of_case[3] == of_case[4]
    for part in (0, 1):
        assert table.counts[made.part_of == part].sum(axis=0).tolist() == made.counts[part].tolist()


def pad_by_class():
    patients, classes = pad_patients()
    return count_groups(patients, {"class": classes})


@pytest.mark.parametrize("fractions", [THREE, [0.64, 0.16, 0.2], [0.7, 0.1, 0.2], [0.2] * 5])
def test_real_patients_reach_the_bound_of_every_class(fractions):
    made = stratified_group_split(pad_by_class(), SplitTarget(fractions), seed=4)
    distance, bound = farthest(made, "class")

    assert bound == pytest.approx(distance)
    assert made.best


def test_class_site_and_sex_stay_within_two_cases_of_their_bounds(shared):
    made = stratified_group_split(pad_of(shared, site="region", sex="gender"), SplitTarget(THREE), seed=2)

    assert [] == [p for p in made.strata() if p.distance - p.bound > 2]
    assert farthest(made, "class")[1] == pytest.approx(farthest(made, "class")[0])


def test_another_seed_draws_other_groups():
    table = pad_by_class()
    first, second = (stratified_group_split(table, SplitTarget(THREE), seed=seed) for seed in (1, 2))

    assert (first.part_of != second.part_of).any()
    assert (first.part_of == stratified_group_split(table, SplitTarget(THREE), seed=1).part_of).all()


def test_large_groups_take_small_ones_into_account():
    """Every patient has two cases or more, so a lonely case cannot fill a gap."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(3000), 1 + rng.geometric(0.4, 3000))
    made = stratified_group_split(
        count_groups(groups, {"class": rng.choice(list("abcdef"), len(groups))}), SplitTarget(THREE), seed=0
    )

    assert farthest(made, "class")[1] == pytest.approx(farthest(made, "class")[0])


def test_a_million_cases_take_seconds():
    """A twentieth of that here; `make bench` times the million."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(20_000), rng.geometric(0.4, 20_000))
    made = stratified_group_split(
        count_groups(groups, {"class": rng.choice(list("abcdefgh"), len(groups))}), SplitTarget(THREE), seed=0
    )

    assert made.best


def test_targets_are_met_and_the_rest_is_shared_out():
    groups = [f"{n:03}" for n in range(100)]
    table = count_groups(groups, {"class": ["a"] * 60 + ["b"] * 40})
    made = stratified_group_split(table, SplitTarget([0.64, 0.16, 0.2], counts={2: {"a": 7, "b": 13}}), seed=0)

    assert [[42, 22], [11, 5], [7, 13]] == made.counts[:, :2].tolist()


def test_the_least_number_of_cases_goes_before_the_fraction():
    table = count_groups([f"{n:03}" for n in range(105)], {"class": ["common"] * 100 + ["rare"] * 5})
    made = stratified_group_split(table, SplitTarget([0.8, 0.1, 0.1], minimum=1), seed=0)

    assert [3, 1, 1] == made.counts[:, 1].tolist()
    assert 1.0 == made.strata()[1].bound


@pytest.mark.parametrize(
    ("groups", "classes", "target", "message"),
    [
        (
            "aaaaaabcdefg",
            "xxxxxxxxxxyy",
            SplitTarget([0.5, 0.25, 0.25]),
            "class x .* 10 cases are in 5 groups, 6 of them",
        ),
        (
            "abcdef",
            "xxxxxy",
            SplitTarget([0.5, 0.5], minimum=1),
            "class y .* each of 2 subsets needs at least 1 cases",
        ),
        ("aabbcc", "xyxyxy", SplitTarget([0.25] * 4), "should have 4 subsets, but there are only 3 groups"),
        ("abcdef", "xxxxxx", SplitTarget([0.5, 0.5], counts={1: {"x": 7}}), "asks for 7 cases, there are 6"),
    ],
)
def test_a_target_that_cannot_be_met_is_refused_by_name(groups, classes, target, message):
    with pytest.raises(SplitError, match=message):
        stratified_group_split(count_groups(list(groups), {"class": list(classes)}), target, seed=0)


def test_patients_are_balanced_where_groups_are_groups_of_them():
    table = count_groups(["g", "g", "h", "i"], {"class": ["x"] * 4}, patients=["p1", "p2", "p3", "p4"])

    assert [2, 1, 1] == table.counts[:, -1].tolist()


@pytest.mark.soak
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.sampled_from("abc")), min_size=10, max_size=60), st.integers(0, 9))
def test_what_is_fixed_stays(cases, seed):
    table = count_groups([f"{group:02}" for group, _ in cases], {"class": [name for _, name in cases]})
    assume(len(table.groups) >= 3)
    fixed = np.where(np.arange(len(table.groups)) % 2, np.arange(len(table.groups)) % 3, -1)
    made = stratified_group_split(table, SplitTarget(THREE, uneven=True), seed=seed, fixed=fixed)

    assert (fixed[fixed >= 0] == made.part_of[fixed >= 0]).all()


@pytest.mark.soak
def test_twenty_steps_of_growth_move_nobody_and_stay_near_the_bound():
    patients, classes = map(np.array, pad_patients())
    order = np.random.default_rng(3).permutation(np.unique(patients))
    known = {}
    for size in np.linspace(len(order) / 2, len(order), 21).astype(int):
        kept = np.isin(patients, order[:size])
        table = count_groups(patients[kept], {"class": classes[kept]})
        fixed = np.array([known.get(group, -1) for group in table.groups])
        made = stratified_group_split(table, SplitTarget(THREE), seed=7, fixed=fixed)
        known = dict(zip(table.groups, made.part_of, strict=True))

        assert (fixed[fixed >= 0] == made.part_of[fixed >= 0]).all()
        assert [] == [p for p in made.strata() if p.stratum == "class" and p.distance > p.bound + 2]


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, pd.NaT, "", "  ", "nan", "None"])
@pytest.mark.parametrize("unit", ["group", "patient", "class"])
def test_a_table_with_missing_units_is_refused_by_number_and_first_row(missing, unit):
    table = {name: ["a", "b", "c", "d"] for name in ("group", "patient", "class")}
    table[unit] = ["a", missing, "c", missing]

    with pytest.raises(SplitError, match=f"2 of 4 entries name no {unit}; the first is in row 1, counted from 0"):
        count_groups(table["group"], {"class": table["class"]}, patients=table["patient"])


def test_a_column_of_a_data_frame_is_taken_and_its_gaps_are_refused():
    frame = pd.DataFrame({"patient": [7, 7, 8, 9], "class": ["nevus", "melanoma", "nevus", "nevus"]})
    assert 3 == len(count_groups(frame["patient"], {"class": frame["class"]}).groups)

    with pytest.raises(SplitError, match="1 of 4 entries name no group; the first is in row 2"):
        count_groups(frame["patient"].where(frame["patient"] != 8), {"class": frame["class"]})
