"""The exact log-likelihood of every answer, by one pass of the decoder over the trie of their tokens.

Refuses to know photographs, classes and thresholds: tensors come in, log-likelihoods go out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from toolkit.models.inputs import Tensors
from toolkit.models.sanity_checks import check_finite
from toolkit.models.transformers_compat import Model


class Trie(NamedTuple):
    """All beginnings of N distinct token sequences as one decoder sequence; node 0 is the start token.

    A node's row of the decoder's output says what may come next. The end token of an answer is only ever said, never
    read, so it is an edge and not a node; an answer that begins another is therefore nothing special.
    """

    tokens: torch.Tensor
    """(nodes,) what the decoder reads at each node."""
    depths: torch.Tensor
    """(nodes,) the place each node would have in a sequence of its own."""
    sees: torch.Tensor
    """(nodes, nodes) bool: which nodes are the node itself or its ancestors."""
    edges: torch.Tensor
    """(edges, 3): answer, node, token said there. The edges of an answer are its path."""
    answers: int


class Encoded(NamedTuple):
    """What the decoder looks at: prompt and photograph, encoded once for all answers."""

    states: torch.Tensor
    mask: torch.Tensor


def build_trie(answers: Sequence[list[int]], *, start: int) -> Trie:
    """Lay out the trie of token sequences, each ending in its end token."""
    nodes: dict[tuple[int, ...], int] = {(): 0}
    edges = []
    for answer, tokens in enumerate(answers):
        for place, token in enumerate(tokens):
            node = nodes.setdefault(tuple(tokens[:place]), len(nodes))
            edges.append((answer, node, token))
    beginnings = list(nodes)
    sees = [[beginning[: len(other)] == other for other in beginnings] for beginning in beginnings]
    return Trie(
        tokens=torch.tensor([beginning[-1] if beginning else start for beginning in beginnings]),
        depths=torch.tensor([len(beginning) for beginning in beginnings]),
        sees=torch.tensor(sees),
        edges=torch.tensor(edges),
        answers=len(answers),
    )


@torch.inference_mode()
def log_likelihoods(model: Model, inputs: Tensors, trie: Trie) -> torch.Tensor:
    """Return (B, C) float64 natural logarithms; raise ModelError if one is not finite."""
    inputs = {name: tensor.to(model.device) for name, tensor in inputs.items() if name != "labels"}
    logits = _decode(model, encode(model, inputs), trie)
    answer, node, token = trie.edges.to(logits.device).unbind(dim=1)
    said = logits[:, node, token] - logits.logsumexp(dim=-1)[:, node]
    check_finite(said, what="the likelihood of an answer")
    # Summed on the CPU: MPS has no float64.
    totals = torch.zeros(len(logits), trie.answers, dtype=torch.float64)
    return totals.index_add_(1, answer.cpu(), said.double() if said.device.type == "cpu" else said.cpu().double())


def encode(model: Model, inputs: Tensors) -> Encoded:
    """Do what the model's own forward does before its decoder."""
    features = model.get_image_features(
        inputs["pixel_values"],
        qformer_input_ids=inputs["qformer_input_ids"],
        qformer_attention_mask=inputs["qformer_attention_mask"],
        return_dict=True,
    ).pooler_output
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    is_image = model.get_placeholder_mask(inputs["input_ids"], inputs_embeds=embedded)
    embedded = embedded.masked_scatter(is_image, features.to(embedded.dtype))
    mask = inputs["attention_mask"]
    states = model.language_model.encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
    return Encoded(states, mask)


def _decode(model: Model, encoded: Encoded, trie: Trie) -> torch.Tensor:
    """Return (B, nodes, vocabulary) float32 logits."""
    language_model = model.language_model
    states = language_model.decoder(
        input_ids=trie.tokens.to(encoded.states.device).expand(len(encoded.states), -1),
        attention_mask=_tree_mask(language_model.decoder, trie),
        encoder_hidden_states=encoded.states,
        encoder_attention_mask=encoded.mask,
        use_cache=False,
    ).last_hidden_state
    if language_model.config.scale_decoder_outputs:
        states = states * language_model.model_dim**-0.5
    return language_model.lm_head(states).float()


def _tree_mask(decoder: Model, trie: Trie) -> torch.Tensor:
    """Return a (1, heads, nodes, nodes) additive mask that turns a sequence into a tree.

    T5 passes a mask of four dimensions through as it is and adds it to a position bias that it computes from the
    nodes' places in the flattened sequence. So the mask holds, between a node and what it sees, the bias by depth
    less the bias by place; everything else is shut out. No layer of T5 needs to be replaced.
    """
    attention = decoder.block[0].layer[0].SelfAttention
    by_place = attention.compute_bias(len(trie.tokens), len(trie.tokens))
    depths = trie.depths.to(by_place.device)
    by_depth = by_place[:, :, depths[:, None], depths[None, :]]
    unseen = ~trie.sees.to(by_place.device)
    return (by_depth - by_place).masked_fill(unseen, torch.finfo(by_place.dtype).min)
