"""Other exposures of a lesion: photographed again, from elsewhere, in other light, by an unsteady hand.

A sample holds none of them; the search for photographs of one lesion is tried and tested on them.
"""

from dataclasses import replace

import numpy as np
import scipy
from numpy.random import Generator, default_rng

from toolkit.cases import Box
from toolkit.synthetic.cameras import take
from toolkit.synthetic.lesions import Layers, Map, noise
from toolkit.synthetic.plan import Person, PlacedLesion, PlannedPhotograph
from toolkit.synthetic.rendering import bare_skin, lit, overgrown, place

SCENE = 680
"""Pixels of a side of the skin around a lesion, of which an exposure shows a part."""
LESION = 210
"""Pixels of a lesion's longer side in the scene."""
SIZE = (420, 350)
"""Width and height of an exposure in pixels."""
ZOOM = (0.6**0.5, 1.6**0.5)
"""Pixels of an exposure per pixel of the scene: of two exposures one has 0.6 to 1.6 times the other's."""
CHANCES = {"hair": 0.4, "pen": 0.1, "ruler": 0.2, "glare": 0.15, "blur": 0.2}
"""How often an exposure shows each of these, whatever another exposure of the lesion shows."""
HAIRY = 0.15
"""How often it shows many hairs beside: what is strong in such a photograph says nothing about the lesion."""


def exposure(photograph: PlannedPhotograph, number: int, *, seed: int) -> bytes:
    """Return one exposure, a JPEG, of a planned photograph's first lesion; any two show the same lesion.

    They differ by framing, scale (0.6 to 1.6), rotation (any), tilt, the skin's stretch, light, white balance, focus,
    hair, and by most of the skin's grain.
    """
    person, lesion = photograph.person, photograph.lesions[0]
    rng = default_rng([seed, 7, person.number, lesion.number, number])
    skin = _scene(rng, person, lesion, seed=seed)
    down, across = _framing(rng)
    seen = {
        name: scipy.ndimage.map_coordinates(layer, [down, across], order=1, mode="nearest")
        for name, layer in skin.items()
    }
    traits = frozenset(name for name, chance in CHANCES.items() if rng.uniform() < chance)
    light = lit(rng, seen, traits)
    if rng.uniform() < HAIRY:
        light = overgrown(rng, light, times=int(rng.integers(3, 9)))
    return take(rng, light, replace(photograph, size=SIZE, traits=traits, fault=None, note={}))


def _scene(rng: Generator, person: Person, lesion: PlacedLesion, *, seed: int) -> Layers:
    """Return the lesion amid its skin; of the skin's grain only a share is seen in each exposure."""
    fixed, now = (
        bare_skin(own, (SCENE, SCENE), person) for own in (default_rng([seed, 6, person.number, lesion.number]), rng)
    )
    share = rng.uniform(0.2, 0.7)
    skin = {name: share * layer + (1 - share) * now[name] for name, layer in fixed.items()}
    place(default_rng([seed, 3, person.number, lesion.number]), skin, replace(lesion, box=_middle(lesion.box)))
    return skin


def _middle(box: Box) -> Box:
    """Return a box of the same form in the middle of the scene."""
    scale = LESION / max(box.width, box.height)
    width, height = round(box.width * scale), round(box.height * scale)
    return Box(float((SCENE - width) // 2), float((SCENE - height) // 2), float(width), float(height))


def _framing(rng: Generator) -> tuple[Map, Map]:
    """Return rows and columns of the scene at an exposure's pixels: turned, tilted, shifted, the skin stretched."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    zoom = np.exp(rng.uniform(*np.log(ZOOM)))
    turn, tilt, axis = rng.uniform(0, 2 * np.pi), rng.uniform(0.87, 1), rng.uniform(0, np.pi)
    tilted = _rotation(axis) @ np.diag([1, tilt]) @ _rotation(-axis)
    matrix = _rotation(turn) @ tilted / zoom
    shift = rng.uniform(-0.12, 0.12, 2) * SIZE
    across, down = np.tensordot(matrix, [x - width / 2 + shift[0], y - height / 2 + shift[1]], axes=1)
    stretch = rng.uniform(0, 0.008) * SCENE
    across, down = (places + stretch * noise(rng, (height, width), 3) + SCENE / 2 for places in (across, down))
    return down, across


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
