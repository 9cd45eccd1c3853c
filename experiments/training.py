"""Training that resumes: a checkpoint after each epoch, the finished network as safetensors.

The order of the images and their augmentation depend on the seed and the epoch alone, so that an interrupted training
ends with the same network as one that was not.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision.transforms import v2

from biasprop.files import make_folder, write_atomically
from biasprop.progress import track

from .data import Images, read
from .networks import build

__all__ = ["Training", "accuracy", "trained"]


ADAPTIVE = ("vit",)
"""Networks that are trained with AdamW, in float32."""


@dataclass(frozen=True)
class Training:
    """What is trained, and how: stochastic gradient descent with Nesterov momentum, one cycle of the learning rate.

    Transformers are trained with AdamW instead, and in float32: in bfloat16 their small products are slower.

    Attributes:
        data: see `data.read`.
        network: see `networks.build`.
        bias: with biases or without.
        norm: with batch norm (uncentred without biases).
        centring: of the input, see `Images.centre`.
        epochs: passes over the training images.
        batch: images a step.
        rate: largest learning rate, after a fifth of the steps; then linearly to zero.
        decay: of the weights.
        crop: pixels of padding of the random crop; 0: none.
        flip: mirror half of the images.
        seed: of everything.
        limit: only so many training images.
    """

    data: str
    network: str
    bias: bool = True
    norm: bool = False
    centring: str = "mean"
    epochs: int = 10
    batch: int = 128
    rate: float = 0.05
    decay: float = 5e-4
    crop: int = 0
    flip: bool = False
    seed: int = 0
    limit: int | None = None

    @property
    def name(self) -> str:
        """Readable, and different for different trainings."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        bias = "bias" if self.bias else "nobias"
        return f"{self.data}-{self.network}{'-norm' if self.norm else ''}-{bias}-{self.centring}-{digest}"

    def describe(self) -> str:
        """For the results page."""
        decay, batch = f"weight decay {self.decay:g}", f"batch {self.batch}, one cycle up to {self.rate:g}"
        augmented = [f"crops with {self.crop} pixels of padding"] * bool(self.crop) + ["mirroring"] * self.flip
        ending = f"{', ' + ' and '.join(augmented) if augmented else ''}"
        if self.network in ADAPTIVE:
            return f"{self.network}, {self.epochs} epochs of AdamW ({batch}, {decay}){ending}"
        norm = ("batch norm" if self.bias else "uncentred batch norm") if self.norm else "no batch norm"
        return f"{self.network}, {norm}, {self.epochs} epochs of SGD (momentum 0.9, {batch}, {decay}){ending}"


class _Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Cropped and mirrored at random by the global generator, then normalised."""

    def __init__(self, data: Images, training: Training) -> None:
        self.part = data.train.first(training.limit)
        mean, std = data.centre(training.centring)
        steps: list[nn.Module] = []
        if training.crop:
            steps.append(v2.RandomCrop(data.train.images.shape[-1], padding=training.crop))
        if training.flip:
            steps.append(v2.RandomHorizontalFlip())
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean.tolist(), std.tolist())]
        self.prepare = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.prepare(self.part.images[i]), self.part.labels[i]


def trained(training: Training, runs: Path) -> nn.Sequential:
    """The trained network in eval mode, float32: from ``runs`` if it is there, else trained on from its checkpoint."""
    data = read(training.data)
    torch.manual_seed(training.seed)
    model = build(training.network, data.train.images, len(data.classes), training.bias, training.norm)
    folder = make_folder(runs)
    finished = folder / f"{training.name}.safetensors"
    if not finished.exists():
        _train(model, data, training, folder / f"{training.name}.pt")
        weights = {key: value.contiguous() for key, value in model.state_dict().items()}
        settings = {"training": json.dumps(asdict(training))}
        write_atomically(finished, lambda path: save_file(weights, path, settings))
        (folder / f"{training.name}.pt").unlink(missing_ok=True)
    model.load_state_dict(load_file(finished))
    return model.eval()


def _optimiser(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    if training.network in ADAPTIVE:
        return torch.optim.AdamW(model.parameters(), training.rate, weight_decay=training.decay)
    return torch.optim.SGD(model.parameters(), training.rate, 0.9, weight_decay=training.decay, nesterov=True)


def _train(model: nn.Module, data: Images, training: Training, checkpoint: Path) -> None:
    examples = _Augmented(data, training)
    optimiser = _optimiser(model, training)
    steps = training.epochs * -(-len(examples) // training.batch)
    warm = max(1, steps // 5)
    cycle = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, (steps - step) / (steps - warm + 1))
    )
    done = 0
    model.to(memory_format=torch.channels_last)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        cycle.load_state_dict(state["cycle"])
        done = state["epochs"]
    for epoch in range(done, training.epochs):
        torch.manual_seed(1_000_003 * training.seed + epoch)
        order = RandomSampler(examples, generator=torch.Generator().manual_seed(epoch))
        loader = DataLoader(examples, training.batch, sampler=order)
        model.train()
        label = f"{training.name}, epoch {epoch + 1} of {training.epochs}"
        for x, y in track(loader, label):
            with torch.autocast("cpu", torch.bfloat16, enabled=training.network not in ADAPTIVE):
                loss = F.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cycle.step()
        state = {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "cycle": cycle.state_dict(),
            "epochs": epoch + 1,
        }
        write_atomically(checkpoint, lambda path, state=state: torch.save(state, path))  # type: ignore[misc]
    model.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, labels: Tensor, batch: int = 500) -> float:
    """In percent."""
    right = sum(
        int((model(some).argmax(1) == truth).sum())
        for some, truth in zip(x.split(batch), labels.split(batch), strict=True)
    )
    return 100 * right / len(labels)
