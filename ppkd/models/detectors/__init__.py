"""Whole detectors, one per file."""
