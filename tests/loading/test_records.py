"""Records of data sets: every form that an example may have."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from biasprop import InputError
from biasprop.errors import FileError
from biasprop.loading import Preparation, record_item

HOW = Preparation(resize=0, crop=0, mean=(0.0,), std=(1.0,))
PIXELS = np.random.default_rng(0).integers(0, 255, (5, 6, 3), dtype=np.uint8)
CHANNELS = torch.from_numpy(PIXELS.transpose(2, 0, 1) / np.float32(255))


def encoded():
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "value",
    [
        CHANNELS,
        PIXELS,
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS.transpose(2, 0, 1).copy()),
        Image.fromarray(PIXELS),
        encoded(),
        {"bytes": encoded(), "path": None},
    ],
    ids=["tensor", "array", "uint8 tensor", "channels in front", "pillow", "bytes", "bytes of Hugging Face"],
)
def test_images(value):
    for record in (value, (value, 3), {"image": value, "label": 3}, {"label": 3, "x": value}):
        if isinstance(value, dict) and record is value:
            record = {"image": value}
        item = record_item("7", record, HOW)
        torch.testing.assert_close(item.x, CHANNELS)
        assert item.label == (3 if record is not value and len(record) == 2 else None)


def test_pixels_are_prepared_as_files_are(tmp_path):
    how = Preparation(resize=6, crop=3)
    (tmp_path / "a.png").write_bytes(encoded())
    wanted = record_item("7", tmp_path / "a.png", how).x
    assert wanted.shape == (3, 3, 3)
    for value in (PIXELS, torch.from_numpy(PIXELS), torch.from_numpy(PIXELS.transpose(2, 0, 1).copy())):
        torch.testing.assert_close(record_item("7", value, how).x, wanted)
    grey = PIXELS[..., 0]
    wanted = record_item("7", Image.fromarray(grey), how).x
    for value in (grey, grey[..., None], torch.from_numpy(grey)[None]):
        torch.testing.assert_close(record_item("7", value, how).x, wanted)


def test_paths(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    for record in ({"path": str(tmp_path / "a.png")}, tmp_path / "a.png", {"image": {"path": str(tmp_path / "a.png")}}):
        torch.testing.assert_close(record_item("7", record, HOW).x, CHANNELS)
    with pytest.raises(FileError, match="no file"):
        record_item("7", {"path": str(tmp_path / "b.png")}, HOW)


def test_rows_of_a_table():
    how = Preparation(labels="died", drop=("id",))
    item = record_item("7", {"id": 5, "age": 3, "died": 1.0, "height": 1.5}, how)
    assert item.feature_names == ["age", "height"]
    assert (item.x.tolist(), item.label) == ([3.0, 1.5], 1)
    assert record_item("7", [1.0, 2.0], HOW).x.tolist() == [1.0, 2.0]
    assert record_item("7", {"v": [1, 2, 3]}, Preparation(column="v")).x.tolist() == [1.0, 2.0, 3.0]
    assert record_item("7", (np.ones(2), torch.tensor(4)), HOW).label == 4
    assert record_item("7", (np.ones(2), "cat"), HOW).label == "cat"


@pytest.mark.parametrize(
    ("record", "how", "message"),
    [
        ({"age": 3}, Preparation(column="x"), "no column 'x'; it has age"),
        ({"age": 3}, Preparation(labels="y"), "no column 'y'"),
        ({"age": None}, HOW, "7 holds no numbers, image or text"),
        ({"age": "old"}, HOW, "7 holds no numbers"),
        (object(), HOW, "7 holds no numbers"),
        ([[1.0], [1.0, 2.0], [1.0]], HOW, "7 holds no numbers"),
        ({"text": "good"}, HOW, "there is no tokenizer"),
    ],
)
def test_what_cannot_be_explained_is_refused(record, how, message):
    with pytest.raises(InputError, match=message):
        record_item("7", record, how)
