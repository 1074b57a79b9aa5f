"""Detection in the frames of a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from ppkd.deploy.pipeline import Pipeline
from ppkd.report.draw import draw_detections
from ppkd.utils.errors import DataError
from ppkd.utils.files import check_outputs, check_regular

_DEFAULT_FPS = 30.0
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_CONTAINERS = "mov,mp4,avi,matroska,webm,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,m4v,ivf,mjpeg,3gp"


def detect_video(
    pipeline: Pipeline,
    video: Path | str | int,
    output_dir: Path | str,
    class_names: Sequence[str],
    *,
    threshold: float = 0.5,
    progress: Callable[[int], None] = lambda frame: None,
) -> Path:
    """Writes ``output_dir/<base name>.mp4`` with the detections drawn into every frame; returns its path.

    ``video`` is a file, or the number of a camera, whose frames go to ``camera_<number>.mp4`` until an interrupt.
    ``progress`` gets the number of each frame, from 1. Raises :class:`DataError` for a video that is no regular file,
    cannot be read, would be overwritten by the result, or a result that cannot be written.
    """
    path = Path(output_dir) / f"{f'camera_{video}' if isinstance(video, int) else Path(video).stem}.mp4"
    source = _open(video, path)
    writer = None
    frames = 0
    try:
        while True:
            found, frame = source.read()
            if not found:
                break
            rgb = np.ascontiguousarray(frame[..., ::-1])
            [own] = pipeline.find([rgb])
            drawn = draw_detections(rgb, own.rows, class_names, threshold, own.masks)
            writer = writer or _writer(path, frame.shape[1], frame.shape[0], source.get(cv2.CAP_PROP_FPS))
            writer.write(np.ascontiguousarray(drawn[..., ::-1]))
            frames += 1
            progress(frames)
    except KeyboardInterrupt:
        if not isinstance(video, int):
            raise
    finally:
        source.release()
        if writer is not None:
            writer.release()
    if not frames:
        raise DataError(f"{video}: cannot read a video from it: no such file, an unknown format, or no frames")
    return path


def _open(video: Path | str | int, result: Path) -> cv2.VideoCapture:
    """The camera or the file, checked before a result is written."""
    if isinstance(video, int):
        camera = cv2.VideoCapture(video)
        if not camera.isOpened():
            raise DataError(f"--camera_id {video}: OpenCV finds no such camera")
        return camera
    try:
        check_regular(video)
    except OSError as error:
        raise DataError(f"cannot read the video {video}: {error.strerror or error}") from error
    check_outputs([result], [video])
    return _open_file(video)


def _open_file(video: Path | str) -> cv2.VideoCapture:
    """FFmpeg's reader of containers alone: playlists, which FFmpeg knows by their content, may name any other file."""
    before = os.environ.get(_OPTIONS)
    os.environ[_OPTIONS] = f"format_whitelist;{_CONTAINERS}"
    try:
        return cv2.VideoCapture(str(video), cv2.CAP_FFMPEG)
    finally:
        os.environ.pop(_OPTIONS)
        if before is not None:
            os.environ[_OPTIONS] = before


def _writer(path: Path, width: int, height: int, fps: float) -> cv2.VideoWriter:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps or _DEFAULT_FPS, (width, height))
    if not writer.isOpened():
        raise DataError(f"{path}: cannot write a video; is the folder writable?")
    return writer
