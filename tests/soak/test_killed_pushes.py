"""Pushes killed at 20 moments and sent again until done: nothing is sent twice, and nothing is missing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from exports import label, row
from fakes.labelbox_server import Server
from killed_pushes import (
    Runner,
    fill_predictions,
    fill_queue,
    killed_and_sent_again,
    metadata_as_it_is,
    nothing_twice_nothing_missing,
    predictions_once,
    split_photographs,
)

KILLS = 20
IMAGES = [f"i{n}" for n in range(1, 13)]
CHECKS = {
    "queue": nothing_twice_nothing_missing,
    "metadata": metadata_as_it_is,
    "predictions": predictions_once,
}


@pytest.fixture
def labelbox(monkeypatch):
    with Server(b"") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def queued(parsed):
    workspace = parsed(*(row(i, label(f"L-{i}", "nevus"), patient=f"P-{n // 3}") for n, i in enumerate(IMAGES)))
    fill_queue(workspace)
    return workspace


@pytest.mark.parametrize("kind", CHECKS)
def test_a_push_killed_at_twenty_moments_sends_nothing_twice_and_nothing_is_missing(labelbox, queued, tmp_path, kind):
    split_photographs(queued)
    fill_predictions(queued)
    runner = Runner(queued.folder, kind)
    how = {"kills": KILLS, "seed": 11, "images": IMAGES, "check": CHECKS[kind]}
    killed = killed_and_sent_again(labelbox, runner, queued.folder, tmp_path, **how)
    runner.end()
    print(f"push {kind}: killed {killed} times, each time sent again until done: nothing sent twice, nothing missing")

    assert killed == KILLS
