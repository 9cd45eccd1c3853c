"""The one exception family: what was wrong, where, and what to do."""

__all__ = [
    "BiaspropError",
    "CaptureError",
    "CompletenessError",
    "EngineError",
    "FileError",
    "ForkError",
    "InputError",
    "MissingExtra",
    "NotHomogeneous",
    "RuleError",
    "SourceError",
    "TargetError",
    "UnsupportedOperation",
]


class BiaspropError(Exception):
    """Base of every error that biasprop raises on purpose; its message says what, where and what to do."""


class CaptureError(BiaspropError):
    """The model cannot be captured: it is in training mode, or ``torch.export`` cannot trace it."""


class UnsupportedOperation(BiaspropError):
    """An operation of the network has no local model; the message names it and its module path."""


class CompletenessError(BiaspropError):
    """The parts do not add up to f(x): the network, or a rule of the user's own, is not what it was taken for."""


class InputError(BiaspropError):
    """An input tensor has the wrong type, shape, device or values."""


class TargetError(BiaspropError):
    """The target does not select one number per example."""


class RuleError(BiaspropError):
    """An unknown rule, a bad temperature, or a rule whose alpha does not sum to 1."""


class SourceError(BiaspropError):
    """A name matches no bias source, or no tensor of the captured graph."""


class FileError(BiaspropError):
    """A file is missing, unreadable, of the wrong kind, unsafe, or cannot be written."""


class EngineError(BiaspropError):
    """A worker failed, or Ray gave up; what was written stays, and the same command goes on from it."""


class ForkError(BiaspropError):
    """A process was forked off one whose threads it would need."""


class NotHomogeneous(BiaspropError):
    """X-Gradient was asked of a network that is not homogeneous; the message names what breaks it."""


class MissingExtra(BiaspropError):
    """A package that this part of biasprop needs is not installed; the message says what to install."""
