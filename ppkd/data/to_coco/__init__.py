"""Annotations of other formats as a COCO json."""
