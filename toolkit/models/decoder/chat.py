"""Prompts and answers as the tokens that a checkpoint's chat template makes of them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import ModelError
from toolkit.models.backend import user_words
from toolkit.models.decoder.families import Family
from toolkit.models.sanity_checks import check_distinct, check_image_tokens

PROCESSOR_CONFIG = "processor_config.json"
QFORMER_TOKENIZER = "qformer_tokenizer"
"""The folder of the tokenizer of a Q-Former."""
REASONING = re.compile(r"<think(?:ing)?>")
SHORT = "?"


class ImagesAndText:
    """A checkpoint's image processor and tokenizer.

    The library's own processors are not used: those of Qwen and SmolVLM need torchvision for videos.
    """

    def __init__(
        self,
        tokenizer: Any,
        image_processor: Any,
        *,
        configuration: bytes | None = None,
        qformer_tokenizer: Any = None,
    ) -> None:
        self.tokenizer, self.image_processor = tokenizer, image_processor
        self.qformer_tokenizer = qformer_tokenizer
        """Of a Q-Former that reads the prompt too; None for all others."""
        self.configuration = configuration
        """What the library's own processor reads: it is handed on as it is."""

    @property
    def tokenizers(self) -> list[Any]:
        """All tokenizers that there are."""
        return [self.tokenizer] + ([] if self.qformer_tokenizer is None else [self.qformer_tokenizer])

    def save_pretrained(self, folder: Path) -> None:
        """Write both beside a model, so that this toolkit and the library read them."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if self.qformer_tokenizer is not None:
            self.qformer_tokenizer.save_pretrained(folder / QFORMER_TOKENIZER)
        if self.configuration is not None:
            (folder / PROCESSOR_CONFIG).write_bytes(self.configuration)


class Chat:
    """Turns a study's prompts and answers into tokens; refuses a template by which answers could not be scored."""

    def __init__(self, tokenizer: Any, family: Family, *, image_token: int, image_tokens: int, ends: set[int]) -> None:
        self.tokenizer, self.family = tokenizer, family
        self.image_token, self.image_tokens, self.ends = image_token, image_tokens, ends
        self.adds_start = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
        self._prompts: dict[str, list[int]] = {}

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Return the tokens of a prompt with its photograph; raise ModelError where the photograph would not count."""
        if prompt not in self._prompts:
            self._prompts[prompt] = self._tokens(self._text(user_words(prompt)))
        return self._prompts[prompt]

    def answer_tokens(self, answers: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each answer, the end token last."""
        tokens = [self._answer(answer) for answer in answers]
        check_distinct(answers, tokens)
        return tokens

    def _answer(self, answer: str) -> list[int]:
        """Return what follows the prompt's tokens, up to the token that ends an answer."""
        before, text = self._text(SHORT), self._text(SHORT, answer)
        prompt, whole = self._tokens(before), self._tokens(text)
        if REASONING.search(before.rpartition(SHORT)[2]) or whole[: len(prompt)] != prompt:
            raise ModelError(
                "an answer does not follow its prompt directly: the chat template puts a reasoning block or "
                "something else between them",
                place="the checkpoint's chat template",
                remedy="use a checkpoint that is tuned to follow instructions and does not reason aloud",
            )
        rest = whole[len(prompt) :]
        end = next((place for place, token in enumerate(rest) if token in self.ends), None)
        if end is not None:
            return rest[: end + 1]
        if self.tokenizer.eos_token_id not in self.ends:
            raise ModelError(
                f"the answer {answer!r} has no end token at which the model stops to generate",
                place="the checkpoint's chat template and generation_config.json",
                remedy="let eos_token_id of generation_config.json name the token that ends an answer",
            )
        return [*self._tokens(text.rstrip())[len(prompt) :], self.tokenizer.eos_token_id]

    def _text(self, words: str, answer: str | None = None) -> str:
        """Return prompt, or prompt and answer, as text with all image tokens."""
        family, image = self.family, self.tokenizer.convert_ids_to_tokens(self.image_token)
        if family.has_template:
            messages = [_message("user", words)] + ([] if answer is None else [_message("assistant", answer)])
            text = self._rendered(messages, add_generation_prompt=answer is None)
        else:
            ending = "" if answer is None else f"{answer}{self.tokenizer.eos_token}"
            text = f"{family.placeholder}{self.tokenizer.bos_token}{words}\n{ending}"
        return text.replace(family.placeholder, f"{family.before}{image * self.image_tokens}{family.after}")

    def _rendered(self, messages: list[dict[str, Any]], *, add_generation_prompt: bool) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:
            raise ModelError(
                f"the chat template cannot be rendered: {type(error).__name__}: {str(error)[:200]}",
                place="the checkpoint's chat template",
                remedy="use the template that the checkpoint was published with",
            ) from error

    def _tokens(self, text: str) -> list[int]:
        # A template writes the token that begins a text, or leaves it to the tokenizer; never both.
        tokens, start = self.tokenizer(text, add_special_tokens=False)["input_ids"], self.tokenizer.bos_token_id
        if self.adds_start and start not in tokens:
            tokens = [start, *tokens]
        if start is not None and tokens[:2] == [start, start]:
            raise ModelError(
                "a text would begin twice: the chat template writes the token that begins it two times",
                place="the checkpoint's chat template",
                remedy="use the template that the checkpoint was published with",
            )
        check_image_tokens(tokens, image_token=self.image_token, expected=self.image_tokens, prompt=text[:80])
        return tokens


def _message(role: str, text: str) -> dict[str, Any]:
    image = [{"type": "image"}] if role == "user" else []
    return {"role": role, "content": [*image, {"type": "text", "text": text}]}
