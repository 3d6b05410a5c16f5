"""Links between patients who share something, and the groups that they form: connected components."""

from typing import NamedTuple

import numpy as np
import scipy


class PatientLink(NamedTuple):
    """Two patients who share something; a photograph without a patient stands for one of its own."""

    relation: str
    patient_id: str
    other_patient_id: str


def components(links: list[PatientLink]) -> dict[str, int]:
    """Return the component of every linked patient."""
    if not links:
        return {}
    names, ends = np.unique([link[1:] for link in links], return_inverse=True)
    ends = ends.reshape(-1, 2).T
    graph = scipy.sparse.coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(len(names), len(names)))
    return dict(
        zip(names.tolist(), scipy.sparse.csgraph.connected_components(graph, directed=False)[1].tolist(), strict=True)
    )


def grouped(cases: list[tuple[str, str]], links: list[PatientLink]) -> list[str]:
    """Return the group of each (case, patient): the least case ID among the patients who are linked."""
    component = components(links)
    least: dict[str | int, str] = {}
    keys = [component.get(patient, patient) for _, patient in cases]
    for (case, _), key in zip(cases, keys, strict=True):
        least[key] = min(case, least.get(key, case))
    return [least[key] for key in keys]


def reasons(links: list[PatientLink], patients: set[str]) -> dict[str, int]:
    """Return how many groups of several of these patients each relation helped to join."""
    component = components(links)
    of_patients: dict[int, set[str]] = {}
    for patient, number in component.items():
        if patient in patients:
            of_patients.setdefault(number, set()).add(patient)
    joined = {(link.relation, component[link.patient_id]) for link in links}
    several = [relation for relation, number in joined if len(of_patients.get(number, ())) > 1]
    return {relation: several.count(relation) for relation in sorted(set(several))}
