"""Photographs as pixels: opening them safely, crops of cases, and finding duplicates and near-duplicates."""
