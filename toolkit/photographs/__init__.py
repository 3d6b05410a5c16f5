"""Photographs as pixels: opening them safely, crops of cases, duplicates and near-duplicates."""
