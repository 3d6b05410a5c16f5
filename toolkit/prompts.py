"""Knows how a study's question is put to the model.

Refuses to know the answer: no class stands in a prompt (`manifest` refuses a study in which one does).
"""

from toolkit.manifest import PromptSection


def prompt_of(prompt: PromptSection) -> str:
    """Return the prompt of the published study: "USER: … ASSISTANT:"; the same for training and prediction."""
    return f"USER: {prompt.user} ASSISTANT:"
