"""Which cells, anchors or proposals answer for which ground truth."""
