"""Cells of a pyramid by the boxes of a batch: which level, which cells, which weight."""
