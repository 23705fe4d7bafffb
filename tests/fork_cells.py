"""Run by test_forks.py in a process of its own: compiled cells before and after forks.

Prints a line a case. A child that waits for what it will never get is ended by its alarm.
"""

import ctypes
import os
import signal
import sys
import threading

import torch
from torch.utils.data import DataLoader, Dataset

from unrolled.engine import bound, forks
from unrolled.layers import Recurrent

PATIENCE = 40  # seconds
torch.manual_seed(0)
torch.set_num_threads(2)
LAYER = Recurrent("gru", 16, 32, backend="c")
X = torch.randn(64, 20, 16)


def work():
    """A training step's sums; the calls are large enough for two threads."""
    x = X.clone().requires_grad_()
    output, _ = LAYER(x)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    return float(output.sum()), float(gradient.sum())


def child(fork, action=work):
    """Whether a forked child computes what its parent does."""
    expected = action()
    number = fork()
    if number == 0:
        signal.alarm(PATIENCE)
        os._exit(0 if action() == expected else 3)
    _, status = os.waitpid(number, 0)
    return status == 0 and work() == work()


class Encoded(Dataset):
    """Examples that a compiled cell encodes, in the workers."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        assert forks.many_threads()
        with torch.no_grad():
            return LAYER(X[index : index + 1])[0][0, -1]


def plain():
    return child(os.fork)


def without_pythons_hooks():
    """As a server written in C forks: nobody gave the threads back."""

    def small():  # large operations of PyTorch itself would wait
        with torch.no_grad():
            return LAYER(X)[0][:, -1].tolist()

    return child(ctypes.PyDLL(None).fork, small)


def of_a_child():
    return child(os.fork, lambda: (plain(), work()))


def several_at_once():
    work()
    numbers = []
    for _ in range(3):
        number = os.fork()
        if number == 0:
            signal.alarm(PATIENCE)
            os._exit(0 if work() == work() else 3)
        numbers.append(number)
    work()
    return all(os.waitpid(number, 0)[1] == 0 for number in numbers)


def from_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(plain()))
    thread.start()
    thread.join()
    return found == [True]


def threads_of_a_child():
    def both():
        found = []
        threads = [threading.Thread(target=lambda: found.append(work())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return set(found)

    return child(os.fork, both)


def while_another_thread_holds_the_buffers():
    expected = work()
    held, go = threading.Event(), threading.Event()

    def hold():
        with bound.POOL._lock:
            held.set()
            go.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    number = os.fork()
    if number == 0:
        signal.alarm(PATIENCE)
        os._exit(0 if work() == expected else 3)
    go.set()
    thread.join()
    return os.waitpid(number, 0)[1] == 0


def workers_of_a_loader():
    loader = DataLoader(
        Encoded(), batch_size=2, num_workers=2, timeout=PATIENCE, multiprocessing_context="fork"
    )
    with torch.no_grad():
        expected = LAYER(X[:8])[0][:, -1]
    for _ in range(2):
        work()
        if not torch.equal(torch.cat(list(loader)), expected):
            return False
    return True


CASES = (
    plain,
    several_at_once,
    of_a_child,
    from_a_thread,
    threads_of_a_child,
    while_another_thread_holds_the_buffers,
    workers_of_a_loader,
    without_pythons_hooks,
)
if __name__ == "__main__":
    if sys.argv[1:] == ["unguarded"]:  # what happens where nobody gives the threads back
        forks._before = forks._in_child = lambda: None
        forks._pause, forks.many_threads = False, lambda: True
        PATIENCE = 3
        print("plain", plain())
    else:
        for case in CASES:
            print(case.__name__, case(), flush=True)
