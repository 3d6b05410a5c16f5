"""Labelbox's SDK, and nothing else: the only place where it is imported."""
