"""What is particular to each family of decoder-only vision-language models, by the `model_type` of its configuration.

A family without a rule here is refused: its positions, masks and image tokens would have to be guessed.
"""

from collections.abc import Mapping
from typing import NamedTuple

BLIP_2 = "blip-2"
BLIP_2_QUESTION = "Question: {} Answer:"
"""How BLIP-2 was asked when it was published."""
SIDE = 448
"""Pixels of a photograph's side for families that take any size; it is a multiple of 28 and of 32, which they need."""


class Family(NamedTuple):
    """The rules of one family."""

    placeholder: str
    """What the chat template writes for a photograph; it becomes `before`, the image tokens, and `after`."""
    before: str = ""
    after: str = ""
    language: str = "language_model"
    """Name of the language model within the model."""
    has_template: bool = True
    """Without one, a prompt is the image tokens, the token that begins a text, the words and a line break."""
    types: str | None = None
    """Name of the input that gives each token its type."""
    image_type: int = 1
    answer_type: int = 0
    first_position: int = 0
    multimodal_positions: bool = False
    """Whether positions have three dimensions, which the model itself computes."""
    any_size: bool = False
    """Whether photographs may have any size."""
    masks_by_layer: bool = False
    """Whether layers with a sliding window take a mask of their own."""
    listed: bool = True
    """Whether the model keeps the features of photographs in a list."""
    nested: bool = False
    """Whether a photograph is a list of tiles; here it is one tile."""
    options: Mapping[str, bool] = {}
    """What its image processor is told, beside not to resize."""
    question: str = ""
    """Where a Q-Former turns a photograph into query tokens (BLIP-2, InstructBLIP): how words are put to the model."""
    instructed: bool = False
    """Whether the Q-Former reads the prompt too."""
    texts: tuple[str, ...] = ()
    """The kinds of language models that are known in it; empty for any."""


_QWEN = Family("<|image_pad|>", types="mm_token_type_ids", multimodal_positions=True, any_size=True)
_IDEFICS = Family(
    "<image>",
    before="<fake_token_around_image><global-img>",
    after="<fake_token_around_image>",
    language="text_model",
    nested=True,
    # Split into tiles, a photograph would cost an order of magnitude more.
    options={"do_image_splitting": False},
)
FAMILIES = {
    "gemma3": Family(
        "<start_of_image>",
        before="\n\n<start_of_image>",
        after="<end_of_image>\n\n",
        types="token_type_ids",
        masks_by_layer=True,
        listed=False,
        options={"do_pan_and_scan": False},
    ),
    "paligemma": Family(
        "<image>",
        has_template=False,
        types="token_type_ids",
        image_type=0,
        answer_type=1,
        first_position=1,
        listed=False,
    ),
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": _QWEN,
    "idefics3": _IDEFICS,
    "smolvlm": _IDEFICS,
    "llava": Family("<image>", options={"do_center_crop": False}),
    BLIP_2: Family("<image>", has_template=False, question=BLIP_2_QUESTION, texts=("opt",)),
    "instructblip": Family(
        "<image>", has_template=False, question="USER: {} ASSISTANT:", instructed=True, texts=("llama",)
    ),
}
