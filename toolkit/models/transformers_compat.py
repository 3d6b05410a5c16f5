"""What smooths over transformers: its types, its log lines and progress bars, and facts of a loaded model."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import huggingface_hub.utils.logging as hub_logging
import torch
import transformers
from transformers.utils import logging

# Configurations and processors get their attributes at run time, so a type checker cannot follow them.
Model = Any
"""An InstructBlipForConditionalGeneration."""
Processor = Any
"""An InstructBlipProcessor."""
Config = Any
"""An InstructBlipConfig."""


@contextmanager
def quiet() -> Generator[None]:
    """Suppress log lines and progress bars within the block."""
    verbosity, hub_verbosity, bars = (
        logging.get_verbosity(),
        hub_logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
    )
    logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(hub_logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # peft asks transformers by an old name.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            yield
    finally:
        logging.set_verbosity(verbosity)
        hub_logging.set_verbosity(hub_verbosity)
        if bars:
            logging.enable_progress_bar()


def model_facts(model: Model) -> dict[str, str | int]:
    """Return what a run records of every model of this library."""
    parameters = list(model.parameters())
    return {
        "device": model.device.type,
        "parameters": sum(map(_weights, parameters)),
        "trainable_parameters": sum(_weights(p) for p in parameters if p.requires_grad),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _weights(parameter: torch.nn.Parameter) -> int:
    """Return the number of weights in a parameter; two of 4 bits are one number in memory."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()
