"""Image files of every kind become RGB uint8, or an error with their name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ppkd.data.image import EXTENSIONS, decode_image, read_image
from ppkd.data.transforms import Decode
from ppkd.utils.errors import DataError
from ppkd.utils.files import files_below

TOP, BOTTOM = (200, 30, 10), (10, 40, 220)


def two_colours(height: int = 40, width: int = 60) -> np.ndarray:
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2], image[height // 2 :] = TOP, BOTTOM
    return image


def encoded(image: np.ndarray, extension: str = ".png") -> bytes:
    return cv2.imencode(extension, image)[1].tobytes()


def bgr(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that holds nothing but the orientation."""
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + bytes([orientation])
    block = b"Exif\x00\x00" + tiff + bytes(6)
    return jpeg[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + jpeg[2:]


def test_channels_come_in_rgb_order() -> None:
    np.testing.assert_array_equal(decode_image(encoded(bgr(two_colours()))), two_colours())


def test_grey_alpha_and_sixteen_bits_become_rgb_uint8() -> None:
    grey = np.full((4, 5), 77, np.uint8)
    np.testing.assert_array_equal(decode_image(encoded(grey)), np.full((4, 5, 3), 77))
    alpha = cv2.cvtColor(bgr(two_colours()), cv2.COLOR_BGR2BGRA)
    np.testing.assert_array_equal(decode_image(encoded(alpha)), two_colours())
    deep = bgr(two_colours()).astype(np.uint16) * 256 + 128
    out = decode_image(encoded(deep))
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, two_colours())


def test_exif_orientation_is_applied() -> None:
    jpeg = with_orientation(encoded(bgr(two_colours()), ".jpg"), 6)
    out = decode_image(jpeg)
    assert out.shape == (60, 40, 3)
    np.testing.assert_allclose(out[30, 5], BOTTOM, atol=6)
    np.testing.assert_allclose(out[30, 35], TOP, atol=6)


def test_boxes_drawn_on_the_unrotated_picture_get_that_one() -> None:
    jpeg = with_orientation(encoded(bgr(two_colours()), ".jpg"), 6)
    assert decode_image(jpeg, size=(60, 40)).shape == (60, 40, 3)
    assert decode_image(jpeg, size=(40, 60)).shape == (40, 60, 3)
    assert decode_image(jpeg, size=(50, 50)).shape == (60, 40, 3)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_file_is_an_error_with_its_name(tmp_path: Path, extension: str, share: float) -> None:
    data = encoded(np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8), extension)
    path = tmp_path / f"cut{extension}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(DataError, match=f"cut{extension}"):
        read_image(path)


def test_a_missing_file_and_a_text_file_are_errors_with_their_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg.*No such file"):
        read_image(tmp_path / "gone.jpg")
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"notes\.jpg"):
        read_image(tmp_path / "notes.jpg")


def test_decode_corrects_a_wrong_size_and_clips_its_boxes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(two_colours()))
    rows = np.arange(3)
    sample = {"im_file": path, "h": 100, "w": 100, "gt_class": rows, "im_id": np.array([4])}
    sample["gt_bbox"] = np.array([[0, 0, 10, 10], [50, 30, 90, 90], [70, 5, 80, 10]], np.float32)
    out = Decode()(sample)
    assert (out["h"], out["w"]) == (40, 60)
    np.testing.assert_array_equal(out["im_shape"], [40, 60])
    np.testing.assert_array_equal(out["gt_bbox"], [[0, 0, 10, 10], [50, 30, 60, 40]])
    np.testing.assert_array_equal(out["gt_class"], [0, 1])


def test_folders_are_searched_in_order_and_for_images_only(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/1.png", "a/notes.txt", "0.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path, EXTENSIONS)]
    assert found == ["0.bmp", "a/1.png", "b/2.JPG"]
