"""A folder of images with annotations to configurations that train: what ``ppkd init`` does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ppkd.data.datasets import DetectionDataset
from ppkd.start import files
from ppkd.start.divide import divide
from ppkd.start.found import TRAIN, VAL, WHOLE, Found
from ppkd.start.recognise import recognise
from ppkd.start.suggest import Plan, suggest
from ppkd.start.survey import faults, tell, write_sheet
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import ConfigError
from ppkd.utils.installation import PADDLES, probe_paddle, version
from ppkd.utils.itself import shown

LISTS = ("all.txt", "all.json", "train.txt", "train.json", "val.txt", "val.json")


def init(
    folder: Path, output: Path | None, *, detector: str = "gfl", gpu: bool | None = None, seed: int = 0, overwrite: bool
) -> Iterator[str]:
    """Look at ``folder``, write into ``output`` (``ppkd_NAME`` if not given), and say line by line what was found.

    ``gpu`` says which detectors are suggested, those for a GPU or not; None looks whether there is one.
    Raises :class:`DataError` for data that is not recognised or has no box, and :class:`ConfigError` where a file is
    in the way and ``overwrite`` is not given.
    """
    name = re.sub(r"[^\w.+-]+", "_", folder.resolve().name).strip("_.") or "data"
    names = files.Names(output or Path(f"ppkd_{name}"), name)
    found = recognise(folder, without=names.folder)
    _check_free(names, overwrite)
    output_folder(names.folder)
    _clear(names)
    was_divided = found.divided
    found = found.written(names.folder)
    opened = {part: found.open(part) for part in found.parts}
    if not was_divided:
        found = divide(found, opened[WHOLE], names.folder, seed=seed)
    parts = {part: found.open(part) for part in (TRAIN, VAL)}
    yield f"{folder}: {found.form}, {len(parts[TRAIN].class_names)} classes"
    yield from tell(parts)
    yield from (f"  ! {part}: {line}" for part, dataset in opened.items() for line in faults(dataset))
    yield from (f"  ! {remark}" for remark in found.remarks)
    if not was_divided:
        yield f"  divided with seed {seed}; the lists are in {names.folder}"
    damaged = write_sheet(names.sheet, parts[TRAIN], seed=seed)
    yield from (f"  ! {line}" for line in damaged)
    yield f"  look whether the boxes are right: {names.sheet}"
    plan = suggest(
        parts[TRAIN], detector=detector, gpu=has_gpu() if gpu is None else gpu, cores=len(os.sched_getaffinity(0))
    )
    _write(names, found, parts[TRAIN], plan)
    yield ""
    yield from _suggested(plan, names)


def has_gpu() -> bool:
    """Whether Paddle has a GPU to compute on; asks it only where it is built for one."""
    if not version(PADDLES[1]):
        return False
    probe = probe_paddle()
    return not isinstance(probe, str) and bool(probe["gpus"])


def _check_free(names: files.Names, overwrite: bool) -> None:
    """Raise :class:`ConfigError` for a file that would be replaced unasked."""
    wanted = [names.path(part) for part in ("data", "reader", "teacher", "student", "distil")] + [names.sheet]
    taken = [path for path in (*wanted, *(names.folder / each for each in LISTS)) if path.exists()]
    if taken and not overwrite:
        raise ConfigError(f"{taken[0]} exists already; --overwrite replaces it, --output names another folder")


def _clear(names: files.Names) -> None:
    """Remove the lists of a run before, which may be of another form."""
    for each in LISTS:
        (names.folder / each).unlink(missing_ok=True)


def _write(names: files.Names, found: Found, training: DetectionDataset, plan: Plan) -> None:
    (names.folder / f"{WHOLE}.txt").unlink(missing_ok=True)
    texts = {
        "data": files.data_yaml(found, training.class_names),
        "reader": files.reader_yaml(plan),
        "teacher": files.teacher_yaml(plan, names),
        "student": files.student_yaml(plan, names),
        "distil": files.distil_yaml(plan, names),
    }
    for part, text in texts.items():
        with atomic_open(names.path(part)) as file:
            file.write(text.encode())


def _suggested(plan: Plan, names: files.Names) -> Iterator[str]:
    teacher, student, distil = (str(names.path(part)) for part in ("teacher", "student", "distil"))
    yield f"suggested for {'a GPU' if plan.gpu else 'a processor'}:"
    yield f"  teacher  {plan.pair.titles[0]}, {plan.epochs[0]} epochs"
    yield f"  student  {plan.pair.titles[1]}, {plan.epochs[1]} epochs, distilled as {Path(plan.pair.recipe).stem} says"
    yield f"  input    {plan.size} x {plan.size}: {plan.reason}"
    yield f"  batch    {plan.batch} images, {plan.workers} reading processes"
    if plan.anchors is not None:
        yield f"  anchors  {plan.anchors}"
    yield ""
    yield "next, from this folder:"
    yield f"  {shown('train', '-c', teacher, '--eval')}"
    yield f"  {shown('train', '-c', student, '--eval', '--slim_config', distil)}"
    yield f"  {shown('export', '-c', student)}"
