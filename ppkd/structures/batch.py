"""The batch: a plain dict, because Paddle's DataLoader and DataParallel find tensors in dicts.

Keys are PaddleDetection's (N images in the batch, image i has k_i boxes, k_i may be 0):

=============== ============================== ====================================================
``image``        float32 (N, 3, H, W)           normalised RGB
``im_shape``     float32 (N, 2)                 height, width after resizing, before padding
``scale_factor`` float32 (N, 2)                 resized / original size, y then x
``im_id``        int64 (N, 1)                   image id of the data set
``gt_bbox``      list of N float32 (k_i, 4)     x1, y1, x2, y2 in pixels of the network's input
``gt_class``     list of N int64 (k_i,)         class index
``is_crowd``     list of N int64 (k_i,)         COCO's crowd flag
``difficult``    list of N int64 (k_i,)         VOC's difficult flag
``gt_score``     list of N float32 (k_i,)       mixing weight of a box (mixup), absent means ones
``gt_poly``      list of N float32              edges x1, y1, x2, y2 of masks' outlines, where masks are read:
                 (k_i, L, S, 4)                 L layers of at most S edges, zeros behind
``labelled``     bool (N,)                      false for images without annotation, absent means all true
``views``        list of batches                the same images at other sizes, for evaluation: without boxes, and with
                                                ``mirrored``, a bool; absent means none
=============== ============================== ====================================================
"""

from __future__ import annotations

from typing import Any

Batch = dict[str, Any]
