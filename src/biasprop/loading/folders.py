"""Which files are meant by paths that may be folders of images."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import FileError

__all__ = ["files_of", "images_below", "is_image", "is_saved"]

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm")


def is_image(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in IMAGES


def images_below(folder: Path, skip: Path | None = None) -> list[Path]:
    """The images in a folder and its sub-folders, in order, but not what lies in ``skip``; links are followed."""
    found: list[Path] = []
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in seen else folders  # a link back up
        found += [] if real in seen else [Path(root, name) for name in files if is_image(Path(name))]
        seen.add(real)
    return sorted(path for path in found if not _within(path, skip))


def files_of(inputs: Sequence[Path], skip: Path | None = None) -> list[Path]:
    """The files themselves, and of folders the images, or the data set of Hugging Face; not what lies in ``skip``.

    Raises:
        FileError: a path does not exist, or a folder holds no image.
    """
    found: list[Path] = []
    for path in inputs:
        if os.path.isdir(path):
            inside = sorted(path.iterdir()) if is_saved(path) else images_below(path, skip)
            if not inside:
                raise FileError(f"The folder {path} holds no image ({', '.join(IMAGES)}).")
            found += inside
        elif os.path.isfile(path):
            found.append(path)
        else:
            raise FileError(f"There is no file or folder {path}.")
    return found


def is_saved(path: Path) -> bool:
    """Whether it is a folder that ``datasets.Dataset.save_to_disk`` wrote, or that of a ``DatasetDict``."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def _within(path: Path, folder: Path | None) -> bool:
    """Whatever the links are: Path.resolve fails on those that lead to themselves."""
    return folder is not None and Path(os.path.realpath(folder)) in Path(os.path.realpath(path)).parents
