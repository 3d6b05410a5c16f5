"""CSV as the ISIC challenges exchange it: a run's class probabilities, and the reference diagnoses, by subset."""

from toolkit.csv_files import csv_text
from toolkit.files import write_atomically
from toolkit.stages.export.predicted_cases import read_predictions
from toolkit.stages.export.written import Order, Written
from toolkit.workspace.exported_cases import read_cases
from toolkit.workspace.runs import find_run

NOT_PREDICTED = "the run has no prediction of it"


def write_isic(order: Order) -> Written:
    """Write SUBSET-predictions.csv and SUBSET-ground-truth.csv: `image`, which is a case ID, and a column a class."""
    run_id = find_run(order.workspace, order.run)
    predictions = read_predictions(order.workspace, run_id)
    truth = {case.case_id: case.class_name for case in read_cases(order.workspace, None)}
    names = list(dict.fromkeys((*order.study.class_names, *(x for each in predictions for x in each.probabilities))))
    for part in sorted({each.part for each in predictions}):
        cases = [each for each in predictions if each.part == part]
        known = [(each.case_id, truth[each.case_id]) for each in cases if truth.get(each.case_id)]
        # A class that the run does not know has no number.
        said = ([each.case_id, *(each.probabilities.get(name) for name in names)] for each in cases)
        true = ([case_id, *(float(name == class_name) for name in names)] for case_id, class_name in known)
        for kind, rows in (("predictions", said), ("ground-truth", true)):
            text = csv_text(["image", *names], rows)
            write_atomically(order.folder / f"{part}-{kind}.csv", text.encode())
    predicted = {each.case_id for each in predictions}
    left_out = {case_id: NOT_PREDICTED for case_id in truth if case_id not in predicted}
    unresolved = sorted(case_id for case_id in predicted if not truth.get(case_id))
    return Written(len(predicted), 0, left_out, {"run_id": run_id, "without_reference_diagnosis": unresolved})
