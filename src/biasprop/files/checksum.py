"""The checksum of a file's content: any change of a tensor, of its name, type or shape, or of the header shows."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["add_tensor", "checksum"]


def checksum(file_format: str, header: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over all that a file holds, whatever the order of the tensors."""
    digest = hashlib.sha256()
    for text in (file_format, header):
        _add_text(digest, text)
    for name in sorted(tensors):
        _add_text(digest, name)
        add_tensor(digest, tensors[name])
    return digest.hexdigest()


def add_tensor(digest: "hashlib._Hash", tensor: Tensor) -> None:
    """Its type, its shape and its values; the same on every device."""
    _add_text(digest, f"{tensor.dtype} {tuple(tensor.shape)}")
    digest.update(_bytes(tensor))


def _add_text(digest: "hashlib._Hash", text: str) -> None:
    """With its length in front: where one text ends and the next begins is part of the content."""
    raw = text.encode()
    digest.update(f"{len(raw)} ".encode() + raw)


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
