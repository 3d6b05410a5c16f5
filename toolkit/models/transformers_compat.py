"""What has to be smoothed over in transformers: its talk and its types.

Refuses to know what it would have said: what matters of it is checked in `guards`.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import huggingface_hub.utils.logging as hub_logging
from transformers.utils import logging

# Configurations and processors get their attributes at run time, where no type checker follows.
Model = Any
"""An InstructBlipForConditionalGeneration."""
Processor = Any
"""An InstructBlipProcessor."""
Config = Any
"""An InstructBlipConfig."""


@contextmanager
def quiet() -> Generator[None]:
    """Hold back log lines and bars within the block."""
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
