"""Plain ways to score answers, against which the trie of `toolkit.models.scoring` is tested and measured.

Each takes what `log_likelihoods` takes and returns (B, C) as it does.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import BaseModelOutput

from toolkit.models.inputs import IGNORED, Tensors
from toolkit.models.scoring import Trie, encode, log_likelihoods
from toolkit.models.transformers_compat import Model

Scorer = Callable[[Model, Tensors, Trie], torch.Tensor]


@torch.inference_mode()
def one_forward_per_label(model: Model, inputs: Tensors, trie: Trie) -> torch.Tensor:
    """Run the whole model for every answer: the definition of the result, and the slowest way."""
    count = len(inputs["input_ids"])
    columns = []
    for tokens in answers_of(trie):
        labels = torch.tensor([tokens] * count)
        columns.append(_summed(model(**inputs, labels=labels).logits, labels))
    return torch.stack(columns, dim=1)


@torch.inference_mode()
def encode_once(model: Model, inputs: Tensors, trie: Trie) -> torch.Tensor:
    """Encode once and decode every answer in one batch, as `predict_class` of LAVIS does."""
    states, mask = encode(model, inputs)
    answers = answers_of(trie)
    longest = max(map(len, answers))
    padded = torch.tensor([tokens + [IGNORED] * (longest - len(tokens)) for tokens in answers])
    labels = padded.repeat(len(states), 1)
    logits = model.language_model(
        encoder_outputs=BaseModelOutput(last_hidden_state=states.repeat_interleave(len(answers), dim=0)),
        attention_mask=mask.repeat_interleave(len(answers), dim=0),
        labels=labels,
    ).logits
    return _summed(logits, labels).view(len(states), len(answers))


@torch.inference_mode()
def generated(model: Model, inputs: Tensors, trie: Trie) -> torch.Tensor:
    """Generate one text: 0 for an answer that equals it token for token, -inf for every other answer.

    Generation gives one answer or none of them, and never how likely it is.
    """
    states, mask = encode(model, inputs)
    answers = answers_of(trie)
    texts = model.language_model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=states),
        attention_mask=mask,
        max_new_tokens=max(map(len, answers)),
        do_sample=False,
    )
    # The start token comes first; padding follows the end token.
    rows = [[row[1 : 1 + len(tokens)] == tokens for tokens in answers] for row in texts.tolist()]
    return torch.tensor(rows).double().log()


@torch.inference_mode()
def all_logits(model: Model, prompt: list[int], after: list[int], pixels: Tensors, **types: int) -> torch.Tensor:
    """Return (tokens, vocabulary) of a decoder-only model: one photograph, prompt and answer, no padding, no cache.

    `types` may give the types of image and answer.
    """
    ids = torch.tensor([prompt + after])
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **pixels}
    if types:
        kinds = (ids == model.config.image_token_id).long() * types["image"]
        kinds[:, len(prompt) :] = types["answer"]
        given["mm_token_type_ids" if "image_grid_thw" in pixels else "token_type_ids"] = kinds
    return model(**given).logits[0].float()


def one_forward_per_answer(
    model: Model, prompts: list[list[int]], pixels: Tensors, answers: list[list[int]], **types: int
) -> torch.Tensor:
    """Return (B, answers) of a decoder-only model; `pixels` holds an equal share of rows for each prompt."""
    table = []
    for number, prompt in enumerate(prompts):
        own = {name: tensor.chunk(len(prompts))[number] for name, tensor in pixels.items()}
        logits = [all_logits(model, prompt, answer, own, **types)[len(prompt) - 1 : -1] for answer in answers]
        losses = [
            cross_entropy(rows, torch.tensor(a), reduction="sum") for rows, a in zip(logits, answers, strict=True)
        ]
        table.append(-torch.stack(losses).double())
    return torch.stack(table)


SCORERS: dict[str, Scorer] = {
    "generate": generated,
    "one forward per label": one_forward_per_label,
    "encode once, decode every label": encode_once,
    "trie": log_likelihoods,
}


def answers_of(trie: Trie) -> list[list[int]]:
    """Return the token sequences that a trie was built from."""
    return [trie.edges[trie.edges[:, 0] == answer, 2].tolist() for answer in range(trie.answers)]


def _summed(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the log-likelihood of each row's whole answer, float64."""
    losses = cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -losses.view_as(labels).double().sum(dim=1)
