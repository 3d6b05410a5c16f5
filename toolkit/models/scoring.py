"""Exact log-likelihoods of all answers, by one pass of the decoder over the trie of their tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from toolkit.models.inputs import Tensors
from toolkit.models.sanity_checks import check_finite
from toolkit.models.transformers_compat import Model


class Trie(NamedTuple):
    """The prefixes of N distinct token sequences as the nodes of one decoder sequence; node 0 is the start token.

    The decoder's output at a node gives the probabilities of the next token. The end token is never read, so it is an
    edge and no node; an answer that is a prefix of another needs no special case.
    """

    tokens: torch.Tensor
    """(nodes,) the token that the decoder reads at each node."""
    depths: torch.Tensor
    """(nodes,) the position of each node in its own sequence."""
    sees: torch.Tensor
    """(nodes, nodes) bool: whether the second is the first node or one of its ancestors."""
    edges: torch.Tensor
    """(edges, 3): answer, node, next token. The edges of an answer are its path."""
    answers: int


class Encoded(NamedTuple):
    """Prompt and photograph, encoded once for all answers."""

    states: torch.Tensor
    mask: torch.Tensor


def build_trie(answers: Sequence[list[int]], *, start: int) -> Trie:
    """Build the trie of token sequences, each with its end token."""
    nodes: dict[tuple[int, ...], int] = {(): 0}
    edges = []
    for answer, tokens in enumerate(answers):
        for place, token in enumerate(tokens):
            node = nodes.setdefault(tuple(tokens[:place]), len(nodes))
            edges.append((answer, node, token))
    prefixes = list(nodes)
    sees = [[prefix[: len(other)] == other for other in prefixes] for prefix in prefixes]
    return Trie(
        tokens=torch.tensor([prefix[-1] if prefix else start for prefix in prefixes]),
        depths=torch.tensor([len(prefix) for prefix in prefixes]),
        sees=torch.tensor(sees),
        edges=torch.tensor(edges),
        answers=len(answers),
    )


@torch.inference_mode()
def log_likelihoods(model: Model, inputs: Tensors, trie: Trie) -> torch.Tensor:
    """Return (B, C) float64 natural logarithms; raise ModelError if one is not finite."""
    inputs = {name: tensor.to(model.device) for name, tensor in inputs.items() if name != "labels"}
    return summed_by_answer(_decode(model, encode(model, inputs), trie), trie)


def summed_by_answer(logits: torch.Tensor, trie: Trie) -> torch.Tensor:
    """Return (B, C) float64 log-likelihoods of the answers from the logits (B, nodes, vocabulary) of a trie's nodes."""
    answer, node, token = trie.edges.to(logits.device).unbind(dim=1)
    steps = logits[:, node, token] - logits.logsumexp(dim=-1)[:, node]
    check_finite(steps, what="the likelihood of an answer")
    # Summed on the CPU: MPS has no float64.
    totals = torch.zeros(len(logits), trie.answers, dtype=torch.float64)
    return totals.index_add_(1, answer.cpu(), steps.cpu().double())


def encode(model: Model, inputs: Tensors) -> Encoded:
    """Encode as the model's own forward does before its decoder."""
    prompts = {name: tensor for name, tensor in inputs.items() if name.startswith("qformer_")}  # BLIP-2 has none
    features = model.get_image_features(inputs["pixel_values"], **prompts, return_dict=True).pooler_output
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

    T5 takes a mask of four dimensions as it is and adds it to a position bias that it computes from the places of the
    nodes in the flattened sequence. So between a node and its ancestors the mask holds the bias by depth minus the bias
    by place; all other pairs are masked. No layer of T5 needs to be replaced.
    """
    attention = decoder.block[0].layer[0].SelfAttention
    by_place = attention.compute_bias(len(trie.tokens), len(trie.tokens))
    depths = trie.depths.to(by_place.device)
    by_depth = by_place[:, :, depths[:, None], depths[None, :]]
    unseen = ~trie.sees.to(by_place.device)
    return (by_depth - by_place).masked_fill(unseen, torch.finfo(by_place.dtype).min)
