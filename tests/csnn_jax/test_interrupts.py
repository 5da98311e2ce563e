"""Signals are collected in the main thread, left alone elsewhere, and their handlers are restored."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from csnn_jax.command import run_command
from csnn_jax.interrupts import collected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_noted_and_its_handler_restored(number):
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


COMMAND = """
import gc, os, signal, sys, time
from csnn_jax.command import run_command

def _xla_gc_callback(phase, info):
    if signals:
        os.kill(os.getpid(), signals.pop())

def command():
    if sys.argv[2] == "import":
        import victim
        os.write(1, f"{victim.whole}\\n".encode())  # at once: the interrupt can come at any time
    else:
        gc.callbacks.append(_xla_gc_callback)
        gc.collect()
    time.sleep(20)
    return 0

signals = [int(sys.argv[1])]
sys.exit(run_command(command, None))
"""
VICTIM = """
import os, sys, time
os.kill(os.getpid(), int(sys.argv[1]))
time.sleep(0.2)
whole = "the import is whole"
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["import", "collection"])
def test_a_signal_at_the_start_is_not_lost_and_does_not_break_an_import(tmp_path, number, code, where):
    (tmp_path / "victim.py").write_text(VICTIM)
    command = [sys.executable, "-c", COMMAND, str(int(number)), where]
    environment = os.environ | {"PYTHONPATH": f"{Path.cwd()}:{tmp_path}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout == ("the import is whole\n" if where == "import" else "")
    assert "Traceback" not in done.stderr


ENDS = """
import os, sys, threading, time
from contextlib import nullcontext
from csnn_jax.command import run_command
from csnn_jax.interrupts import collected

def command():
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("begun")
    with collected() if "15" in sys.argv else nullcontext():
        for number in sys.argv[1:]:
            try:
                os.kill(os.getpid(), int(number))
            except KeyboardInterrupt:
                print("once more")
    raise KeyboardInterrupt

run_command(command, None)
"""


@pytest.mark.parametrize(("signals", "said"), [("", ""), ("2 2", "once more\n"), ("15 2", "")])
def test_a_command_ends_at_once_with_its_output_while_a_thread_is_busy(signals, said):
    command, buffered = [sys.executable, "-c", ENDS, *signals.split()], os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, env=buffered, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (130, f"begun\n{said}", "interrupted\n")


def test_a_command_restores_the_handlers_of_its_caller():
    before = [*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))]
    assert run_command(lambda: 0) == 0 and [*map(signal.getsignal, (signal.SIGINT, signal.SIGTERM))] == before
