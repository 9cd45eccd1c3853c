"""Files of every kind that is read, damaged at random: each is read rightly or refused with an error of ours.

As a program it does the same many times over, with a limit on memory: ``python tests/hostile.py FORMAT COUNT SEED``.
"""

import io
import random
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn
from toys import mlp

from biasprop import BiaspropError
from biasprop.loading import Classes, Preparation, load_onnx, load_weights, read

MEMORY = 8 * 2**30
"""Bytes beyond those that the program has to begin with."""

HOW = Preparation(resize=16, crop=8)


@dataclass
class Format:
    """A good file, how it is read, and what is mended after damage, so that readers look further."""

    make: Callable[[], bytes]
    read: Callable[[Path], object]
    mend: Callable[[bytes], bytes] = bytes


def _inputs(path: Path) -> object:
    files = read([path], HOW)
    return len(files), list(islice(files, 5))


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def _array(write: Callable[..., object], **arrays: object) -> bytes:
    stream = io.BytesIO()
    write(stream, *([np.arange(12, dtype=np.float32).reshape(4, 3)] if not arrays else []), **arrays)
    return stream.getvalue()


def _parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0, 4.5], "b": [1, 2, 3], "c": [True, False, True]}), stream)
    return stream.getvalue()


def _state() -> bytes:
    stream = io.BytesIO()
    torch.save(mlp().state_dict(), stream)
    return stream.getvalue()


def _old_state() -> bytes:
    stream = io.BytesIO()
    torch.save(mlp().state_dict(), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def _onnx() -> bytes:
    layers = [nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 2)]
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder, "net.onnx")
        model = nn.Sequential(*layers).eval()
        torch.onnx.export(model, (torch.zeros(1, 1, 8, 8),), str(path), dynamo=False, opset_version=13)
        return path.read_bytes()


def _mend_png(content: bytes) -> bytes:
    """Checksums that fit again."""
    mended, at = bytearray(content), 8
    while at + 12 <= len(mended):
        end = at + 8 + int.from_bytes(mended[at : at + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = zlib.crc32(mended[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(mended)


FORMATS = {
    "a.png": Format(lambda: _picture("PNG"), _inputs, _mend_png),
    "a.jpg": Format(lambda: _picture("JPEG"), _inputs),
    "a.gif": Format(lambda: _picture("GIF"), _inputs),
    "a.bmp": Format(lambda: _picture("BMP"), _inputs),
    "a.tif": Format(lambda: _picture("TIFF"), _inputs),
    "a.webp": Format(lambda: _picture("WEBP"), _inputs),
    "a.npy": Format(lambda: _array(np.save), _inputs),
    "a.npz": Format(lambda: _array(np.savez, x=np.ones((3, 2))), _inputs),
    "packed.npz": Format(lambda: _array(np.savez_compressed, x=np.ones((30, 20))), _inputs),
    "a.csv": Format(lambda: b",age,weight\n0,30,70.5\n1,40,61\n2,55,1e3\n", _inputs),
    "a.parquet": Format(_parquet, _inputs),
    "a.safetensors": Format(lambda: save(mlp().state_dict()), lambda path: load_weights(mlp(), path)),
    "a.pt": Format(_state, lambda path: load_weights(mlp(), path)),
    "old.pt": Format(_old_state, lambda path: load_weights(mlp(), path)),
    "a.onnx": Format(_onnx, load_onnx),
    "classes.txt": Format(lambda: "n01 cat, tom\nn02 dög\n".encode(), Classes.read),
}


def damage(content: bytes, chance: random.Random) -> bytes:
    """One to four changes: bytes overwritten, cut out, put in, doubled; numbers made huge; the end cut off."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(changed) + 1), chance.choice((1, 1, 2, 4, 8, 32))
        match chance.randrange(6):
            case 0:
                changed[at : at + length] = chance.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = chance.randbytes(length)
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                changed[at : at + 4] = chance.choice((b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", bytes(4), b"\xff" * 4))
            case 5 if chance.random() < 0.3:
                del changed[at:]
    return bytes(changed)


def attack(name: str, many: int, seed: int, folder: Path) -> int:
    """Read so many damaged files of a format; how many were refused.

    Raises:
        AssertionError: an error is not one of ours; the file is kept.
    """
    kind, chance, refused = FORMATS[name], random.Random(f"{name} {seed}"), 0
    good, path = kind.make(), folder / name
    path.write_bytes(good)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind.read(path)
        for number in range(many):
            damaged = damage(good, chance)
            path.write_bytes(kind.mend(damaged) if chance.random() < 0.7 else damaged)
            try:
                kind.read(path)
            except BiaspropError as error:
                refused += 1
                if path.name not in str(error):
                    raise AssertionError(f"The message does not name the file: {error}") from error
            except Exception as error:
                raise AssertionError(
                    f"{name}, seed {seed}, number {number}: {type(error).__name__}: {error}"
                ) from error
    return refused


def main() -> None:
    """See the module."""
    import resource

    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
    resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + MEMORY, used * 1024 + MEMORY))
    name, many, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        print(f"{attack(name, many, seed, Path(folder))} of {many} refused")


if __name__ == "__main__":
    main()
