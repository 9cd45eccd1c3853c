"""Data sets by position: ids that stay, labels, and bad examples told from good."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from biasprop import FileError, InputError
from biasprop.loading import Preparation, RowSource, source_of

HOW = Preparation(resize=0, crop=0)


@pytest.fixture
def photos(tmp_path):
    """Two classes; one photo is damaged."""
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 5), (9, 9, 9)).save(path)
    (tmp_path / "photos" / "dog" / "0.png").write_bytes(b"nothing")
    return tmp_path / "photos"


def test_folders_of_images(photos):
    source = source_of(photos, HOW)
    assert (source.name, source.classes, len(source)) == ("photos", ["cat", "dog"], 4)
    found = source.take([3, 0, 2])
    assert [one.id for one in found] == ["dog/1.png", "cat/1.png", "dog/0.png"]
    assert [one.label for one in found] == [1, 0, None]
    assert found[2].item is None
    assert "Cannot read" in found[2].error
    again = pickle.loads(pickle.dumps(source))
    assert again.take([0])[0].item.x.shape == (3, 5, 4)
    ids = [source.id(k) for k in range(4)]
    photos.rename(photos.with_name("moved"))
    assert [source_of(photos.with_name("moved"), HOW).id(k) for k in range(4)] == ids
    Image.new("RGB", (4, 5)).save(photos.with_name("moved") / "cat" / "0.png")
    assert set(ids) < {source_of([photos.with_name("moved")], HOW).id(k) for k in range(5)}


def test_files_of_one_name_in_several_folders_have_ids_of_their_own(photos, tmp_path):
    source = source_of([photos / "cat" / "1.png", photos / "dog" / "1.png"], HOW)
    assert [source.id(k) for k in range(2)] == ["cat/1.png", "dog/1.png"]
    np.save(tmp_path / "a.npy", np.zeros((1, 2)))
    source = source_of([tmp_path / "a.npy", photos / "cat", photos / "dog", photos / "dog" / "1.png"], HOW)
    assert [source.id(k) for k in (0, 1, 4)] == ["a.npy#0", "photos/cat/1.png", "photos/dog/1.png"]
    assert source.name.startswith(f"4 files and folders in {tmp_path.name} (")
    assert source.name != source_of([tmp_path / "a.npy", photos, photos / "cat", photos / "dog"], HOW).name


def test_rows_keep_their_ids_whatever_is_selected(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(6, 2))
    few = source_of(tmp_path / "a.npy", Preparation(rows=slice(2, 4)))
    assert [few.id(k) for k in range(len(few))] == ["a.npy#2", "a.npy#3"]
    assert few.take([1])[0].item.x.tolist() == [6.0, 7.0]
    with pytest.raises(IndexError):
        few.id(2)


def test_data_sets_by_index():
    class Some(torch.utils.data.Dataset):
        classes = ("cat", "dog")

        def __len__(self):
            return 3

        def __getitem__(self, k):
            if k == 1:
                raise OSError("cannot be read")
            return torch.ones(2) * k, "dog"

    Some.classes = ["cat", "dog"]
    source = source_of(Some(), HOW)
    good, bad = source.take([2, 1])
    assert (good.id, good.label, good.item.x.tolist()) == ("2", 1, [2.0, 2.0])
    assert (bad.id, bad.item, bad.error) == ("1", None, "OSError: cannot be read")
    assert (source.name, source.classes) == ("Some", ["cat", "dog"])


def test_a_folder_of_hugging_face(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {"x": datasets.List(datasets.Value("float32")), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    made = datasets.Dataset.from_dict({"x": [[1.0, 2.0], [3.0, 4.0]], "label": [1, 0]}, features=features)
    made.save_to_disk(tmp_path / "hf")
    source = source_of(str(tmp_path / "hf"), HOW)
    assert (source.name, source.classes, len(source)) == ("hf", ["a", "b"], 2)
    (one,) = source.take([1])
    assert (one.id, one.label, one.item.x.tolist()) == ("1", 0, [3.0, 4.0])
    datasets.DatasetDict({"train": made}).save_to_disk(tmp_path / "several")
    with pytest.raises(InputError, match=r"several data sets: give one of .*several/train"):
        source_of(tmp_path / "several", HOW)
    (tmp_path / "hf" / "dataset_info.json").write_text("[")
    with pytest.raises(FileError, match="Cannot read the data set"):
        source_of(tmp_path / "hf", HOW)


def test_rows_of_ray_without_those_that_are_done():
    source = RowSource(HOW, done={"b"})
    batch = {"id": np.array(["a", "b", "c"]), "x": np.arange(6.0).reshape(3, 2)}
    assert [(one.id, one.item.x.tolist()) for one in source.take(batch)] == [("a", [0.0, 1.0]), ("c", [4.0, 5.0])]


@pytest.mark.parametrize("data", [3, [torch.ones(2)], iter([1]), {"a": 1}, []])
def test_what_is_no_data_set(data):
    with pytest.raises(InputError):
        source_of(data, HOW)
