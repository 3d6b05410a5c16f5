"""Labelbox's export format: from the bytes of a file to typed rows, and what they mean in a study."""
