"""Worker processes that read batches."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

import cv2

from ppkd.data.pipeline import Parts, Pipeline
from ppkd.data.sampling import BatchPlan


def start_workers(pipeline: Pipeline, plans: Sequence[BatchPlan], **settings: Any) -> Any:
    """Paddle's iterator over the batches of ``plans``, read by processes; ``settings`` are ``DataLoader``'s.

    Signals are blocked until the processes have started, so that none ends before :func:`_prepare` has run in it.
    """
    from paddle.io import DataLoader

    former = signal.getsignal(signal.SIGCHLD)
    batches = [[plan] for plan in plans]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        loader = DataLoader(pipeline, batch_sampler=batches, collate_fn=_only, worker_init_fn=_prepare, **settings)
        workers = iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    # Paddle's handler raises an exception at the death of a process, in the middle of whatever the main process does.
    # Without it Paddle's queue finds a dead process as well, within five seconds, when its batch is fetched.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, former)
    return workers


def _only(items: list[Parts]) -> Parts:
    return items[0]


def _prepare(worker_id: int) -> None:
    """Set up a worker: one thread for OpenCV, and an end by the parent's SIGTERM only.

    Ctrl-C and a SIGTERM to the whole group reach the workers too, but the main process may still have to finish a step
    and write a checkpoint. SIGTERM is blocked since :func:`start_workers`.
    """
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
