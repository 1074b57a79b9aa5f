"""Transformers that answer with queries."""
