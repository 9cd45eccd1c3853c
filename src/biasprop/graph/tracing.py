"""How ``torch.export`` is run so that nobody else notices: on a copy, in one thread at a time, and quietly.

While it traces, ``torch.export`` puts stand-ins into the module's parameters and changes ``nn.Module`` itself for the
whole process. The copy shares the weights and nothing else; the changes are kept from all other threads.
"""

import copy
import io
import logging
import os
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from functools import wraps
from typing import Any

from torch import Tensor, nn
from torch.fx import _symbolic_trace

from ..garbage import uncollected

__all__ = ["ONE_AT_A_TIME", "alone", "shared_copy"]

ONE_AT_A_TIME = threading.RLock()
"""Held while a model is captured: ``torch.export`` is not made for several threads."""

if hasattr(os, "register_at_fork"):  # a process that is forked while another thread captures would wait for ever
    os.register_at_fork(
        before=ONE_AT_A_TIME.acquire, after_in_parent=ONE_AT_A_TIME.release, after_in_child=ONE_AT_A_TIME.release
    )


def shared_copy(model: nn.Module) -> nn.Module:
    """A model of the same structure with the same tensors; backward hooks, which capture cannot see, are left out."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        held = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
        memo |= {id(tensor): tensor for tensor in held if isinstance(tensor, Tensor)}
    try:
        made = copy.deepcopy(model, memo)
    except Exception:  # a module may hold what cannot be copied, such as a lock or an open file
        made = _structure(model, {})
    for module in made.modules():
        module._backward_hooks, module._backward_pre_hooks = OrderedDict(), OrderedDict()
    return made


def _structure(module: nn.Module, made: dict[nn.Module, nn.Module]) -> nn.Module:
    """Copies of the modules alone; all else that they hold is shared."""
    if module not in made:
        made[module] = copied = object.__new__(type(module))
        own = {name: dict(value) if isinstance(value, dict) else value for name, value in vars(module).items()}
        vars(copied).update(own)
        copied._modules = {name: m and _structure(m, made) for name, m in module._modules.items()}
    return made[module]


@contextmanager
def alone() -> Iterator[None]:
    """One capture at a time; what it changes of ``nn.Module`` holds in this thread alone; no warnings, no logs.

    Its failures are reported by us, in one sentence.
    """
    with ONE_AT_A_TIME, _in_this_thread_alone(), uncollected(), _silent(), warnings.catch_warnings():
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(level)


class _OfOthers(io.TextIOBase):
    """Standard error without what this thread prints: ``torch.export`` prints a whole graph where it fails."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        """Pass on what other threads print."""
        if threading.get_ident() == self.thread or self.stream is None:
            return len(text)
        return int(self.stream.write(text))

    def flush(self) -> None:
        """Theirs, at once."""
        if self.stream is not None:
            self.stream.flush()


@contextmanager
def _silent() -> Iterator[None]:
    with redirect_stderr(_OfOthers(sys.stderr)):
        yield


@contextmanager
def _in_this_thread_alone() -> Iterator[None]:
    """The methods of ``nn.Module`` that a tracer replaces stay what they were in all other threads."""
    patcher, tracing = _symbolic_trace._Patcher, threading.get_ident()
    patch_method = patcher.patch_method

    def patch_here(self: Any, cls: type, name: str, new: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        original = getattr(cls, name)

        @wraps(new)
        def method(*args: Any, **kwargs: Any) -> Any:
            return (new if threading.get_ident() == tracing else original)(*args, **kwargs)

        patch_method(self, cls, name, method, *args, **kwargs)

    patcher.patch_method = patch_here  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        patcher.patch_method = patch_method  # type: ignore[method-assign]
