"""Reading image files as RGB arrays, whatever their channels, depth and orientation."""

from __future__ import annotations

import os

import cv2
import numpy as np

from ppkd.utils.errors import DataError
from ppkd.utils.files import MOST_IMAGE, open_regular, read_bytes

PIXELS = "MAX_IMAGE_PIXELS"
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp")
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""EXIF's key, and its values that swap height and width."""


def read_image(path: str | os.PathLike[str], size: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The image of a file as RGB uint8 (H, W, 3); ``size`` as in :func:`decode_image`.

    Raises :class:`DataError` naming the file when it is missing, no regular file of at most a gibibyte, unreadable,
    truncated or no image.
    """
    try:
        data = read_bytes(path, MOST_IMAGE)
    except OSError as error:
        raise DataError(f"cannot read image {path}: {error.strerror or error}") from error
    return decode_image(data, name=str(path), size=size)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of the image that :func:`read_image` gives, from the beginning of the file alone.

    Raises :class:`DataError` naming the file.
    """
    from PIL import Image  # Matplotlib brings it; OpenCV has to decode an image for its size

    try:
        with open_regular(path) as file, Image.open(file) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION) in TURNED
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read image {path}: {getattr(error, 'strerror', None) or error}") from error
    return (width, height) if turned else (height, width)


def decode_image(data: bytes, *, name: str = "image", size: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Encoded bytes as RGB uint8 (H, W, 3): grey is repeated, alpha dropped, 16 bits become 8, EXIF rotation applied.

    ``size`` is the height and width that the annotation states, (0, 0) if unknown. Where only the unrotated picture
    has that size, its boxes were drawn on the unrotated picture, and that one is returned. Raises :class:`DataError`
    naming ``name``.
    """
    image = _decode(data, name, cv2.IMREAD_COLOR_RGB)
    if any(size) and image.shape[:2] != size and image.shape[1::-1] == size:
        raw = _decode(data, name, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        return raw if raw.shape[:2] == size else image
    return image


def _decode(data: bytes, name: str, flags: int) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        reason = error.err if data else "the file is empty"
        if PIXELS in reason:
            reason = f"it is larger than the {os.environ.get(f'OPENCV_IO_{PIXELS}', '')} pixels of OPENCV_IO_{PIXELS}"
        raise DataError(f"cannot decode image {name}: {reason}") from error
    if image is None:
        raise DataError(f"cannot decode image {name}: no known format, or damaged")
    return image
