"""Structured pruning: which channels of a detector belong together, which of them go, and the smaller detector."""
