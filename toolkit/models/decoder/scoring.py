"""Exact log-likelihoods of all answers by a decoder-only model: the prompt once, then the trie over its cache.

Positions are always given, for a model's own would follow the padding; masks are added, never boolean, for the plain
attention adds them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPooling

from toolkit.models.decoder.families import Family
from toolkit.models.decoder.inputs import FEATURES, check_length, without_answers
from toolkit.models.inputs import Tensors
from toolkit.models.scoring import Trie, summed_by_answer
from toolkit.models.transformers_compat import Model


class Prefix(NamedTuple):
    """Photograph and prompt, read once: padded on the left, so that every row ends with its last token."""

    logits: torch.Tensor
    """(B, vocabulary) after the last token."""
    cache: Any
    """A DynamicCache."""
    mask: torch.Tensor
    """(B, P): 0 for padding."""
    places: torch.Tensor
    """(B, P): the number of a token in its row, without padding."""
    positions: torch.Tensor
    """(B, 1), or (3, B, 1): the position of the last token."""


Way = Callable[[Model, Prefix, Trie, Family], torch.Tensor]
"""How the logits (B, nodes, vocabulary) of a trie's nodes are computed; node 0 is the end of the prompt."""


@torch.inference_mode()
def log_likelihoods(model: Model, inputs: Tensors, trie: Trie, family: Family, *, way: Way) -> torch.Tensor:
    """Return (B, C) float64 natural logarithms; raise ModelError if one is not finite."""
    inputs = without_answers(inputs)
    check_length(int(inputs["attention_mask"].sum(-1).max()) + int(trie.depths.max()), model.config, family)
    inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
    return summed_by_answer(way(model, read_prefix(model, inputs, family), trie, family).float(), trie)


def read_prefix(model: Model, inputs: Tensors, family: Family) -> Prefix:
    """Read photograph and prompt, and keep what the layers made of them."""
    # Without the configuration, layers with a sliding window keep every key too: masks are as long for all layers.
    cache = DynamicCache() if keeps_keys_only(model) else DynamicCache(config=model.config.get_text_config())
    output = model(**model_inputs(inputs, family), past_key_values=cache, use_cache=True, logits_to_keep=1)
    mask = inputs["attention_mask"]
    places = (mask.cumsum(-1) - 1).clamp(min=0)
    return Prefix(output.logits[:, -1], cache, mask, places, inputs["position_ids"][..., -1:])


def _reader(model: Model, family: Family) -> Model:
    """Return what reads text after the photograph: with query tokens it is the language model alone."""
    return model.language_model if family.question else model


def keeps_keys_only(model: Model) -> bool:
    """Tell whether every layer attends to keys: a layer with a state of its own would see nodes beside each other."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or []
    return set(kinds) <= {"full_attention", "sliding_attention"}


def model_inputs(inputs: Tensors, family: Family) -> dict[str, Any]:
    """Return what the model takes: cached image features in the place of pixels, and no labels."""
    given: dict[str, Any] = {name: tensor for name, tensor in inputs.items() if name not in (FEATURES, "labels")}
    if FEATURES in inputs:
        # (B, layers, tokens, width): what goes into the text, and what some families add within the first layers.
        text, *layers = inputs[FEATURES].unbind(dim=1)
        image: Any = BaseModelOutputWithPooling()
        image.pooler_output = list(text) if family.listed else text
        image.deepstack_features = [list(layer) for layer in layers]
        given["mm_encoder_outputs"] = {"image": image}
    return given


def by_trie(model: Model, prefix: Prefix, trie: Trie, family: Family) -> torch.Tensor:
    """Read all nodes in one pass over the cache; each sees the prompt, its ancestors and itself."""
    root = prefix.logits[:, None]
    if len(trie.tokens) == 1:
        return root
    device, count = root.device, len(root)
    depths, sees = trie.depths[1:].to(device), trie.sees[1:, 1:].to(device)
    nodes = len(depths)
    prompt = prefix.mask.bool()[:, None].expand(count, nodes, -1)
    visible = torch.cat([prompt, sees.expand(count, nodes, nodes)], dim=-1)
    output = _reader(model, family)(
        input_ids=trie.tokens[1:].to(device).expand(count, -1),
        attention_mask=_masks(model, prefix, depths, visible, family),
        position_ids=prefix.positions + depths,
        past_key_values=prefix.cache,
        use_cache=True,
    )
    return torch.cat([root, output.logits], dim=1)


def _masks(model: Model, prefix: Prefix, depths: torch.Tensor, visible: torch.Tensor, family: Family) -> Any:
    """Return the additive mask (B, 1, nodes, P + nodes), or one for each kind of layer."""
    full = _additive(visible, model)
    if not family.masks_by_layer:
        return full
    places = torch.cat([prefix.places, prefix.places[:, -1:] + depths], dim=1)
    distance = places[:, prefix.places.shape[1] :, None] - places[:, None]
    near = visible & (distance < model.config.get_text_config().sliding_window)
    return {"full_attention": full, "sliding_attention": _additive(near, model)}


def _additive(visible: torch.Tensor, model: Model) -> torch.Tensor:
    dtype = model.get_input_embeddings().weight.dtype
    zeros = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return zeros.masked_fill(~visible, torch.finfo(dtype).min)[:, None]


def by_level(model: Model, prefix: Prefix, trie: Trie, family: Family) -> torch.Tensor:
    """Read the nodes of one depth after another, each as a row of its own with a copy of its ancestors' cache.

    It suits layers that keep a state instead of keys, for which nodes beside each other would be one after the other.
    """
    count, device = len(prefix.logits), prefix.logits.device
    logits = prefix.logits.new_empty(count, len(trie.tokens), prefix.logits.shape[-1])
    logits[:, 0] = prefix.logits
    rows, mask = {0: torch.arange(count, device=device)}, prefix.mask
    # A node stands after its ancestors: the last but one that it sees is its parent.
    parents = [0, *(int(sees.nonzero()[-2]) for sees in trie.sees[1:])]
    for depth in range(1, int(trie.depths.max()) + 1):
        nodes = (trie.depths == depth).nonzero()[:, 0].tolist()
        chosen = torch.cat([rows[parents[node]] for node in nodes])
        prefix.cache.reorder_cache(chosen)
        mask = torch.cat([mask[chosen], mask.new_ones(len(chosen), 1)], dim=1)
        output = _reader(model, family)(
            input_ids=trie.tokens[nodes].to(device).repeat_interleave(count)[:, None],
            attention_mask=mask,
            position_ids=torch.cat([prefix.positions] * len(nodes), dim=-2) + depth,
            past_key_values=prefix.cache,
            use_cache=True,
        )
        for number, node in enumerate(nodes):
            rows[node] = torch.arange(number * count, (number + 1) * count, device=device)
            logits[:, node] = output.logits[rows[node], -1]
    return logits
