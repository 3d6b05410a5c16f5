"""The two cameras: colour, exposure, sharpness and noise, the JPEG they write and the EXIF they put into it."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import scipy
from numpy.random import Generator
from PIL import Image
from PIL.ExifTags import IFD, Base

from toolkit.synthetic.lesions import Map
from toolkit.synthetic.plan import PlannedPhotograph
from toolkit.synthetic.rendering import levels

_UPRIGHT = "1"
# How the stored pixels are rotated, so that a viewer that obeys the orientation shows them upright.
_ROTATED = {"6": Image.Transpose.ROTATE_90, "8": Image.Transpose.ROTATE_270, "3": Image.Transpose.ROTATE_180}


@dataclass(frozen=True)
class Camera:
    """How a camera renders light; `balance` is the mean gain of red, green and blue, in logarithms."""

    make: str
    model: str
    sharpness: tuple[float, float]
    """Blur in pixels (standard deviation), from sharpest to softest."""
    balance: tuple[float, float, float]
    contrast: float
    noise: tuple[float, float]
    quality: int


CAMERAS = {
    "clinic-north": Camera("Northlight", "ND-7", (0.3, 0.7), (-0.05, -0.02, 0.02), 1.0, (0.004, 0.012), 90),
    "clinic-south": Camera("Meridian", "Phone 4", (0.5, 1.0), (0.03, -0.02, -0.10), 0.93, (0.008, 0.020), 82),
}


def take(rng: Generator, light: Map, photograph: PlannedPhotograph) -> bytes:
    """Return the photograph as the camera of its site of care stores it."""
    camera = CAMERAS[photograph.person.capture_site]
    blur = rng.uniform(1.1, 1.7) if "blur" in photograph.traits else rng.uniform(*camera.sharpness)
    pixels = scipy.ndimage.gaussian_filter(light, (blur, blur, 0))
    balance = np.exp(rng.normal(camera.balance, 0.065) + rng.normal(-0.02, 0.11)).astype(np.float32)
    gamma = camera.contrast * np.exp(rng.normal(0, 0.09))
    pixels = (pixels * balance).clip(0, 1) ** np.float32(gamma)
    pixels += rng.uniform(*camera.noise) * rng.standard_normal(pixels.shape[:2], dtype=np.float32)[..., None]
    picture = Image.fromarray(levels(pixels))
    orientation = photograph.note.get("orientation", _UPRIGHT)
    if orientation != _UPRIGHT:
        picture = picture.transpose(_ROTATED[orientation])
    file = BytesIO()
    picture.save(file, "JPEG", quality=camera.quality, exif=_exif(rng, camera, photograph, int(orientation)))
    return file.getvalue()


def _exif(rng: Generator, camera: Camera, photograph: PlannedPhotograph, orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[Base.Make], exif[Base.Model] = camera.make, camera.model
    exif[Base.Orientation] = orientation
    if photograph.fault == "name_in_exif":
        exif[Base.ImageDescription] = photograph.note["name"]
    if photograph.fault == "gps_in_exif":
        north, east = (
            (float(whole), float(rng.integers(60)), float(rng.integers(60))) for whole in rng.integers(1, 80, 2)
        )
        exif[IFD.GPSInfo] = {1: "N", 2: north, 3: "E", 4: east}
    return exif
