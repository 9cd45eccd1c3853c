"""The version, which pyproject.toml alone says."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("biasprop")
except PackageNotFoundError:  # a source folder on the path, not installed
    __version__ = "unknown"
