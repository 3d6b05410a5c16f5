"""Decoder-only vision-language models: their families, chat templates, inputs, scoring and self-test."""
