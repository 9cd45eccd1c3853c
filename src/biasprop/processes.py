"""Processes made by ``fork``: the threads of the parent are gone in them, and PyTorch would wait for them for ever."""

import os

import torch

from .errors import ForkError

__all__ = ["require_threads"]

IMPORTED_IN = os.getpid()


def require_threads() -> None:
    """In a forked process, let PyTorch work in this one thread, as its own data loaders do.

    Raises:
        ForkError: the parent has used autograd, whose threads cannot be had here.
    """
    if os.getpid() == IMPORTED_IN:
        return
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
    x = torch.ones(1, requires_grad=True)
    try:
        with torch.enable_grad():
            torch.autograd.grad(x.sum(), x)
    except RuntimeError as error:
        raise ForkError(
            "This process was forked off one that had already used autograd, and PyTorch cannot use it here. Start "
            "processes with multiprocessing.get_context('spawn'), or explain in threads."
        ) from error
