"""Small networks and data sets for jobs, in a module that other processes can import."""

import time

import numpy as np
import torch
from helpers import randomise
from torch import nn


def images_net():
    """For images of 1 x 28 x 28 and ten classes."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 5, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten()]
    return randomise(nn.Sequential(*layers, nn.Linear(8 * 25, 10)))


def photo_net():
    """For photos of 3 x 32 x 32."""
    torch.manual_seed(0)
    return randomise(nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 5)))


class Digits(torch.utils.data.Dataset):
    """The first images of MNIST's test set with their labels; slow on request, and some of them broken."""

    def __init__(self, folder, count, pause=0.0, broken=()):
        self.folder, self.count, self.pause, self.broken = folder, count, pause, broken
        self.arrays = None

    def __len__(self):
        return self.count

    def __getitem__(self, k):
        if self.arrays is None:
            with np.load(self.folder / "mnist.npz") as file:
                self.arrays = file["x_test"][: self.count], file["y_test"][: self.count]
        time.sleep(self.pause)
        if k in self.broken:
            raise ValueError(f"record {k} is broken")
        return torch.from_numpy(self.arrays[0][k][None] / np.float32(255)), int(self.arrays[1][k])

    def __getstate__(self):
        return {**vars(self), "arrays": None}
