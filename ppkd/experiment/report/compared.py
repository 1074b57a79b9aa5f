"""The parts of a run's page that show images: what each detector answers, best and worst, gained and lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ppkd.data import Annotation, DetectionDataset
from ppkd.data.image import read_image
from ppkd.experiment.finished import FinishedRun, Judged
from ppkd.experiment.report.data import class_key
from ppkd.metrics.diagnosis import Evaluated, Matches, matches, tally, thresholds
from ppkd.report.blocks import Block, Picture, Pictures, Section, Text
from ppkd.report.draw import class_colour
from ppkd.report.pictures import MISSED, RIGHT, WRONG, css, fitted, picture, with_boxes
from ppkd.utils.errors import DataError
from ppkd.utils.logger import get_logger
from ppkd.utils.names import shown

logger = get_logger(__name__)

SHOWN = 4
"""Images of each kind."""
SIDE = 340
MOST_TAUGHT = 32
"""Images that the teacher answers: enough to find its threshold, fewer than an evaluation."""
KEY = [(css(RIGHT), "right"), (css(WRONG), "wrong"), (css(MISSED), "missed (dashed)")]


def images(run: FinishedRun, own: Judged, baseline: Judged | None) -> Section:
    """The best and the worst images: ground truth beside what every detector says."""
    assert run.evaluation is not None
    counts = tally(own.matches, own.score)
    worst = np.lexsort((-(counts.wrong + counts.missed), counts.f1))[:SHOWN].tolist()
    best = [index for index in np.lexsort((-counts.right, -counts.f1)).tolist() if index not in worst][:SHOWN]
    chosen = [run.evaluation[index] for index in (*worst, *best)]
    judged = [own, *_teacher(run, own, chosen), *([baseline] if baseline is not None else [])]
    blocks: list[Block] = [Text(_thresholds(judged))]
    for title, part in (("The worst images, the worst first.", worst), ("The best images, the best first.", best)):
        rows = _rows(run.evaluation, part, judged, lambda index: f"F1 {100 * counts.f1[index]:.0f} %")
        blocks.append(Pictures(rows, title, [*KEY, *class_key(run.evaluation.class_names)]))
    return Section("Evaluation images", blocks)


def gained_and_lost(run: FinishedRun, own: Judged, baseline: Judged, where: str) -> Section:
    """Images that the student answers better, or worse, than the run at ``where`` does."""
    assert run.evaluation is not None
    after, before = tally(own.matches, own.score).f1, tally(baseline.matches, baseline.score).f1
    change = after - before
    order = np.argsort(-change, kind="stable")
    gained = [int(index) for index in order[:SHOWN] if change[index] > 0]
    lost = [int(index) for index in order[::-1][:SHOWN] if change[index] < 0]
    text = (
        f"Against {where}: {int((change > 0).sum())} images are answered better, {int((change < 0).sum())} worse, "
        f"{int((change == 0).sum())} equally well, by the F1 of each image at the best threshold of each detector."
    )
    blocks: list[Block] = [Text(text)]
    for title, part in (("Gained most:", gained), ("Lost most:", lost)):
        rows = _rows(
            run.evaluation,
            part,
            [own, baseline],
            lambda index: f"F1 {100 * before[index]:.0f} → {100 * after[index]:.0f} %",
        )
        if rows:
            blocks.append(Pictures(rows, title, KEY))
    return Section("Gained and lost", blocks)


def _teacher(run: FinishedRun, own: Judged, chosen: Sequence[Annotation]) -> list[Judged]:
    """The teacher's answers on ``chosen`` images and some more, if there is one with the student's classes."""
    teacher = run.teacher()
    if teacher is None or run.evaluation is None:
        return []
    classes = len(run.evaluation.class_names)
    if teacher.spec().num_classes != classes:
        logger.info("The teacher has other classes than the student: the report shows none of its answers")
        return []
    spread = np.linspace(0, len(run.evaluation) - 1, min(MOST_TAUGHT, len(run.evaluation))).astype(int).tolist()
    asked = list({one.im_id: one for one in (*chosen, *(run.evaluation[index] for index in spread))}.values())
    found = run.predict(teacher, asked[:MOST_TAUGHT])
    met = matches(Evaluated.of(asked[:MOST_TAUGHT], classes, found))
    return [Judged("teacher", found, met, thresholds(met).best)]


def _thresholds(judged: Sequence[Judged]) -> str:
    scores = ", ".join(f"{one.score:.2f} ({one.name})" for one in judged)
    return f"Detections are drawn from a score of {scores} on, the threshold of each with the best F1."


def _rows(
    dataset: DetectionDataset, chosen: Sequence[int], judged: Sequence[Judged], title: Callable[[int], str]
) -> list[tuple[str, list[Picture]]]:
    """A row for each image that can be read."""
    rows = []
    for index in chosen:
        annotation = dataset[index]
        try:
            image, scale = fitted(read_image(annotation.file, (annotation.height, annotation.width)), SIDE)
        except DataError as error:
            logger.warning("%s; the report shows another one fewer", error)
            continue
        truth = with_boxes(image, annotation.gt_bbox * scale, [class_colour(c) for c in annotation.gt_class.tolist()])
        pictures = [picture(truth, f"ground truth: {len(annotation.gt_class)} boxes")]
        pictures += [_answer(image, scale, annotation, one, len(dataset.class_names)) for one in judged]
        rows.append((f"{title(index)} · {shown(annotation.file.name)}", pictures))
    return rows


def _answer(image: np.ndarray, scale: float, annotation: Annotation, judged: Judged, classes: int) -> Picture:
    met: Matches = matches(Evaluated.of([annotation], classes, judged.found))
    kept = met.counted & (met.evaluated.scores >= judged.score)
    boxes, truth = met.evaluated.found.box * scale, met.evaluated.truth.box * scale
    missed = np.setdiff1d(np.arange(len(truth)), met.truth[kept & met.right])
    right, wrong = np.flatnonzero(kept & met.right), np.flatnonzero(kept & ~met.right)
    drawn = with_boxes(image, truth[missed], [MISSED] * len(missed), dashed=True)
    drawn = with_boxes(drawn, boxes[right], [RIGHT] * len(right))
    drawn = with_boxes(drawn, boxes[wrong], [WRONG] * len(wrong))
    return picture(drawn, f"{judged.name}: {len(right)} right, {len(wrong)} wrong, {len(missed)} missed")
