"""Signals are collected in the main thread, left alone elsewhere, and given back."""

import os
import signal
import threading

import pytest

from csnn_jax.interrupts import collected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_its_handler_given_back(number):
    before = signal.getsignal(number)
    with collected() as caught:
        assert caught == []
        os.kill(os.getpid(), number)
        assert caught == [number]
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), collected() as caught:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert caught == [signal.SIGTERM]


def test_another_thread_gets_no_signals():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with collected() as caught:
            seen.append((list(caught), signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], True)]
