"""What a signal does to a process that has already stopped."""

import os
import signal

import pytest

from ppkd.engine.hooks.interrupt import StopOnSignal
from ppkd.engine.signals import Interrupted, SignalWatch
from ppkd.utils import processes


class Run:
    """As much of a run as the hook uses."""

    class position:
        step = 3

    def save(self, name):
        return name


@pytest.fixture
def former():
    handler = signal.getsignal(signal.SIGTERM)
    yield handler
    signal.signal(signal.SIGTERM, handler)


def stop(monkeypatch, count):
    """Stop as a process of ``count`` does when another one of them received the signal."""
    monkeypatch.setattr(processes, "count", lambda: count)
    monkeypatch.setattr(processes, "any_of", lambda mine: True)
    monkeypatch.setattr(processes, "wait_for_all", lambda: None)
    hook = StopOnSignal(SignalWatch())
    hook.before_train(Run())
    with pytest.raises(Interrupted) as raised:
        hook._stop(Run())
    hook.close(Run())
    return raised.value.exit_code


def test_the_launcher_cannot_change_the_exit_code_of_one_that_stopped_with_the_others(monkeypatch, former):
    assert stop(monkeypatch, 2) == 143
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_process_alone_gives_its_signals_back(monkeypatch, former):
    assert stop(monkeypatch, 1) == 143
    assert signal.getsignal(signal.SIGTERM) == former
