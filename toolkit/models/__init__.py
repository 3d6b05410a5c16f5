"""Model backends by the names that a study uses for them.

torch and transformers are imported only when a study first needs a backend.
"""

import importlib

from toolkit.errors import ModelError
from toolkit.models.backend import Backend

NAMED = {
    "instructblip": "toolkit.models.instructblip:InstructBlip",
    "image-text-to-text": "toolkit.models.decoder.image_text_to_text:ImageTextToText",
    "image-classification": "toolkit.models.classifier:ImageClassifier",
}
BUILT_IN = tuple(NAMED)
"""What the run of another workspace may use: everything else would be a stranger's choice of code to run."""
MODEL_EXTRA = {"torch", "transformers", "accelerate", "peft", "safetensors", "tokenizers"}


def backend(name: str) -> type[Backend]:
    """Return the backend class that `[model] backend` names: one of `NAMED`, or `package.module:Class`."""
    target = NAMED.get(name, name)
    module_name, colon, class_name = target.partition(":")
    if not (colon and module_name and class_name):
        raise ModelError(f"no such model backend: {name!r}", place="[model] backend", remedy=_REMEDY)
    try:
        return getattr(importlib.import_module(module_name), class_name)
    except ImportError as error:
        raise _not_importable(target, error) from error
    except AttributeError as error:
        raise ModelError(
            f"module {module_name} has no class {class_name}", place="[model] backend", remedy=_REMEDY
        ) from error


_REMEDY = f'use one of {", ".join(NAMED)}, or "package.module:Class" of a module that can be imported here'


def _not_importable(target: str, error: ImportError) -> ModelError:
    missing = (error.name or "").partition(".")[0]
    if missing in MODEL_EXTRA:
        return ModelError(
            f"{missing} is not installed: this command needs the model libraries",
            place=target,
            remedy="install lesion-toolkit[model]; everything but train and predict works without",
        )
    return ModelError(f"tried to import {target}: {error}", place="[model] backend", remedy=_REMEDY)
