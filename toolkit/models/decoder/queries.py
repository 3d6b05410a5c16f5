"""Texts and tensors of BLIP-2 and InstructBLIP with a decoder-only language model, whose Q-Former makes image tokens.

There is no chat template: the image tokens stand before all else, as the library's processors put them.
"""

from collections.abc import Sequence

from toolkit.errors import ModelError
from toolkit.models.backend import user_words
from toolkit.models.decoder.chat import SHORT, Chat
from toolkit.models.decoder.inputs import DecoderInputs
from toolkit.models.inputs import Tensors, qformer_inputs
from toolkit.models.sanity_checks import check_image_tokens, check_qformer_length
from toolkit.photographs.undecoded import Batch


class QueryChat(Chat):
    """Prompts and answers as tokens: image tokens, what begins a text, the question, the answer, and what ends it."""

    def _text(self, words: str, answer: str | None = None) -> str:
        question = self.family.question.format(words)
        return question if answer is None else f"{question} {answer}"

    def _tokens(self, text: str) -> list[int]:
        own = [self.image_token] * self.image_tokens
        tokens = own + list(self.tokenizer(text)["input_ids"])
        check_image_tokens(tokens, image_token=self.image_token, expected=len(own), prompt=text[:80])
        return tokens

    def _answer(self, answer: str) -> list[int]:
        """Return what follows the question's tokens, and the token at which the model stops to generate."""
        before, whole = self._tokens(self._text(SHORT)), self._tokens(self._text(SHORT, answer))
        rest, end = whole[len(before) :], self.tokenizer.eos_token_id
        if end not in self.ends and len(self.ends) == 1:
            (end,) = self.ends  # BLIP-2 with OPT ends an answer with a line break
        if whole[: len(before)] != before or end not in self.ends or self.ends & set(rest):
            raise ModelError(
                f"the answer {answer!r} does not become tokens that follow the question and end where the model stops",
                place="the checkpoint's tokenizer and generation_config.json",
                remedy="fetch the checkpoint again in its newest revision",
            )
        return [*rest, end]


class QueryInputs(DecoderInputs):
    """Inputs with pixels, or kept outputs of the vision encoder; the Q-Former is read anew, for it may be trained."""

    def seen(self, photographs: Batch, prompts: Sequence[str]) -> Tensors:
        """Return what stands for the photographs, and the prompts for a Q-Former that reads them."""
        given = {"pixel_values": self.features(photographs)} if self.features else self.pixels(photographs)
        if not self.family.instructed:
            return given
        return given | qformer_inputs([self._qformer_tokens(prompt) for prompt in prompts], self.processor)

    def _qformer_tokens(self, prompt: str) -> list[int]:
        text = self.family.question.format(user_words(prompt))
        tokens = list(self.processor.qformer_tokenizer(text)["input_ids"])
        check_qformer_length(tokens, self.config, prompt=prompt)
        return tokens
