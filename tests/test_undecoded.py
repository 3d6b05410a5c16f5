"""Crops that have a name before they are decoded: what is kept under it takes their place, and never another's."""

import shutil
from functools import partial
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from toolkit.cases import Box
from toolkit.errors import DamagedError, WorkspaceError
from toolkit.files import sha256_of_file
from toolkit.models.features import LAYOUT
from toolkit.models.instructblip import InstructBlip
from toolkit.photographs import crops, degradation
from toolkit.photographs.crops import Crops, CropSource, border_pixels, case_pixels, dihedral
from toolkit.photographs.degradation import KINDS, Degradation, degraded_pixels
from toolkit.photographs.undecoded import UndecodedCrops, turned
from toolkit.progress import silent
from toolkit.stages.predict import predict
from toolkit.stages.train import train

ROI = Box(10.0, 12.0, 30.0, 20.0)


@pytest.fixture
def photographs(tmp_path):
    """Two photographs of noise."""
    rng, paths = np.random.default_rng(2), [tmp_path / "one.png", tmp_path / "other.png"]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    return paths


SQUASHED = partial(case_pixels, shape="squash")


def name_of(path, *, roi=ROI, variant=0, case_id="c1", read=SQUASHED, **settings):
    chosen = {"margin": 0.15, "size": 16, **settings}
    source = CropSource(case_id, path, roi, sha256_of_file(path))
    return turned(UndecodedCrops(Crops([source], read=read, **chosen))[0], variant).name


def test_a_name_stands_for_file_roi_crop_and_everything_that_is_done_to_the_pixels(photographs, tmp_path):
    one, other = photographs
    again = shutil.copy(one, tmp_path / "PAT_7.png")
    degraded = [
        partial(degraded_pixels, degradation=Degradation(kind, level), seed=seed, shape="squash")
        for kind in KINDS
        for level in (0.0, 1.0, 2.0)
        for seed in (1, 2)
    ]
    names = {
        "itself": name_of(one),
        "another photograph": name_of(other),
        "another box": name_of(one, roi=ROI._replace(left=11.0)),
        "no box": name_of(one, roi=None),
        "another margin": name_of(one, margin=0.2),
        "another size": name_of(one, size=17),
        "padded": name_of(one, read=partial(case_pixels, shape="pad")),
        "its border": name_of(one, read=partial(border_pixels, shape="squash")),
        **{f"turned {variant}": name_of(one, variant=variant) for variant in range(1, 8)},
        **{str(read): name_of(one, read=read) for read in degraded},
    }

    assert names["itself"] == name_of(again, case_id="c2")
    for first, second in combinations(names, 2):
        assert names[first] != names[second], f"{first} and {second}"


def test_a_crop_has_the_pixels_of_its_photograph_in_its_orientation(photographs):
    decoded = Crops([CropSource("c1", photographs[0], ROI)], margin=0.15, size=16)
    own = UndecodedCrops(decoded)

    for variant in range(8):
        np.testing.assert_array_equal(dihedral(decoded[0], variant), np.asarray(turned(own[0], variant)))


def counted(photographs, *, keep=10**6):
    """Return crops, and a list that grows whenever one is decoded."""
    decoded: list[int] = []

    def read(content, roi, **settings):
        decoded.append(1)
        return case_pixels(content, roi, **settings)

    sources = [CropSource(path.name, path, ROI, sha256_of_file(path)) for path in photographs]
    return UndecodedCrops(Crops(sources, margin=0.15, size=16, read=read, keep=keep)), decoded


@pytest.mark.parametrize(("variants", "missing", "expected"), [(1, [], 0), (8, [], 0), (1, [0], 1), (8, [5], 1)])
def test_only_what_is_not_kept_in_every_orientation_is_decoded_ahead(photographs, variants, missing, expected):
    named, decoded = counted(photographs)
    lacking = {turned(named[0], variant).name for variant in missing}

    named.load(silent, lambda name: name not in lacking, variants)

    assert expected == len(decoded)
    batches = list(named.batches(1, lambda name: name not in lacking, variants))
    assert [named[0].name, named[1].name] == [batch[0].name for batch in batches]
    assert expected == len(decoded)  # what was decoded stays in memory


def test_no_more_is_decoded_ahead_of_training_than_memory_holds(photographs):
    named, decoded = counted(photographs, keep=16 * 16 * 3)

    named.load(silent, lambda _: False, 1)

    assert 1 == len(decoded)


def test_a_photograph_that_was_changed_or_is_gone_is_refused_though_all_of_it_is_kept(photographs):
    named, decoded = counted(photographs)
    photographs[0].write_bytes(photographs[1].read_bytes())
    photographs[1].unlink()

    for index, error in ((0, DamagedError), (1, WorkspaceError)):
        with pytest.raises(error):
            named[index]
        with pytest.raises(error):
            list(named.batches(2, lambda _: True, 1))
    assert [] == decoded


# With a run: kept features of the tiny model


@pytest.fixture
def opened(monkeypatch):
    """A list that grows whenever a photograph is decoded for a model."""
    calls: list[int] = []
    real = crops.open_photograph
    for module in (crops, degradation):
        monkeypatch.setattr(module, "open_photograph", lambda content: calls.append(1) or real(content))
    return calls


def trained(workspace, finished, *, augment: bool, epochs: int = 2):
    study = finished.study_file.study
    settings = {"mode": "qformer", "epochs": epochs, "augment": augment, "warmup_steps": 0}
    study = study.model_copy(update={"train": study.train.model_copy(update=settings)})
    return study, train(workspace, study, study_folder=finished.study_file.folder)


def likelihoods(workspace, run_id):
    asked = "select case_id, log_likelihoods from predictions where run_id = $run_id and part = 'test' order by all"
    return np.array([list(dict(row["log_likelihoods"]).values()) for row in workspace.rows(asked, {"run_id": run_id})])


def forget_predictions(workspace, run_id):
    shutil.rmtree(workspace.run(run_id) / "predictions")
    (workspace.run(run_id) / "predictions.json").unlink()


def test_a_second_training_and_a_second_prediction_decode_no_photograph(copied, finished, opened):
    study, first = trained(copied, finished, augment=False)
    cases = first.train_cases + first.validation_cases

    assert cases == len(opened)  # once for both epochs and the evaluations
    shutil.rmtree(copied.run(first.run_id))
    opened.clear()
    assert first.train_loss == trained(copied, finished, augment=False)[1].train_loss
    assert [] == opened

    predict(copied, study, run=first.run_id, parts=("test",))
    own = likelihoods(copied, first.run_id)
    assert len(own) == len(opened)
    forget_predictions(copied, first.run_id)
    opened.clear()
    predict(copied, study, run=first.run_id, parts=("test",))
    assert [] == opened
    np.testing.assert_array_equal(own, likelihoods(copied, first.run_id))


@pytest.mark.soak
def test_degraded_photographs_and_controls_never_get_features_of_the_photographs_as_they_are(copied, finished, opened):
    study, run = trained(copied, finished, augment=True, epochs=1)
    predict(copied, study, run=run.run_id, parts=("test",))
    own = likelihoods(copied, run.run_id)
    without = study.model_copy(update={"features": study.features.model_copy(update={"gigabytes": 0.0})})
    kept = set(copied.features.glob(f"{LAYOUT}*/*/*"))

    assert kept
    for control in ("blur:9", "border"):
        opened.clear()
        found = likelihoods(copied, predict(copied, study, run=run.run_id, parts=("test",), control=control).run_id)
        assert len(own) <= len(opened), control
        assert (kept == set(copied.features.glob(f"{LAYOUT}*/*/*"))) is (control == "blur:9")
        again = predict(copied, study, run=run.run_id, parts=("test",), control=control).run_id
        forget_predictions(copied, again)
        predict(copied, without, run=run.run_id, parts=("test",), control=control)
        np.testing.assert_allclose(likelihoods(copied, again), found, atol=1e-3, err_msg=control)
        assert np.abs(found - own).max() > 1e-2, control


def test_what_earlier_versions_kept_is_removed_and_what_others_keep_is_not(tmp_path, finished):
    (tiny,) = (finished.workspace.folder / "models").iterdir()
    old, others = tmp_path / "0123456789abcdef" / "01", [tmp_path / "plain", tmp_path / f"{LAYOUT}0123456789abcdef"]
    for folder in (old, *others):
        folder.mkdir(parents=True)
        (folder / "kept").write_bytes(b"features")
    InstructBlip.load(str(tiny), device="cpu", mode="lora").keep_features(tmp_path, gigabytes=1)

    assert {path.name for path in others} == {path.name for path in tmp_path.iterdir()}
