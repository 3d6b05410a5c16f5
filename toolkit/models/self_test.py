"""The test that a BLIP-2 with a Flan-T5 has to pass when it is loaded, as every decoder-only checkpoint has to.

Photographs, prompts and answers are those of the decoder-only test: they depend on nothing of a study.
"""

from collections.abc import Sequence

import numpy as np
import torch

from toolkit.errors import ModelError
from toolkit.models.decoder.self_test import ANSWERS, LEAST_EFFECT, PROMPTS, SMALLEST, TOLERANCE, draw_photographs
from toolkit.models.inputs import Inputs
from toolkit.models.scoring import build_trie, log_likelihoods
from toolkit.models.transformers_compat import Model


def self_test(model: Model, inputs: Inputs, *, side: int) -> str:
    """Say how exactly a model is scored; raise ModelError if the trie is not one forward per answer, or it is blind.

    In bfloat16 one forward per answer differs from itself in a batch by 0.2 already; that much more is allowed.
    """
    photographs, tokens = draw_photographs(side), inputs.answer_tokens(ANSWERS)
    trie = build_trie(tokens, start=model.config.text_config.decoder_start_token_id)
    own, exchanged = (log_likelihoods(model, inputs(each, PROMPTS), trie) for each in (photographs, photographs[::-1]))
    alone = torch.cat([_plainly(model, inputs, photographs[n : n + 1], PROMPTS[n : n + 1], tokens) for n in range(3)])
    rounding = (_plainly(model, inputs, photographs, PROMPTS, tokens) - alone).abs().max()
    difference, effect = float((own - alone).abs().max()), float((own - exchanged)[::2].abs().max())
    if difference > TOLERANCE[model.get_input_embeddings().weight.dtype] + float(rounding):
        raise _refusal(model, f"the trie differs from one forward per answer by {difference:.2g}")
    if effect <= LEAST_EFFECT * max(difference, SMALLEST):
        raise _refusal(model, f"exchanged photographs change log-likelihoods by {effect:.1e}: it is blind")
    return f"this checkpoint scores exactly: the trie equals one forward per answer to {difference:.1e}"


@torch.inference_mode()
def _plainly(
    model: Model, inputs: Inputs, photographs: np.ndarray, prompts: Sequence[str], answers: Sequence[list[int]]
) -> torch.Tensor:
    """Return (B, answers) log-likelihoods by the definition: one forward of the library's for each answer."""
    given = {name: tensor.to(model.device) for name, tensor in inputs(photographs, prompts).items()}
    columns = []
    for tokens in answers:
        labels = torch.tensor([tokens] * len(photographs), device=model.device)
        steps = torch.log_softmax(model(**given, labels=labels).logits.float(), dim=-1)
        columns.append(steps.gather(2, labels[..., None])[..., 0].double().sum(dim=1).cpu())
    return torch.stack(columns, dim=1)


def _refusal(model: Model, problem: str) -> ModelError:
    return ModelError(
        f"this checkpoint failed its self-test: {problem}",
        place=f"{model.config.model_type} checkpoint with {model.config.text_config.model_type}",
        remedy="use an InstructBLIP with a Flan-T5, or report this checkpoint",
    )
