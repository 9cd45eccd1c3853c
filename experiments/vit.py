"""Two vision transformers: the one of the trained weights for CIFAR-10, and a small one that is trained here."""

import torch
from torch import Tensor, nn

__all__ = ["Block", "CifarTransformer", "Patches", "cifar_transformer", "vision_transformer"]


class CifarTransformer(nn.Module):
    """Six post-norm layers with ReLU of width 128, 4x4 patches, ``(N, 3, 32, 32) -> (N, 10)``.

    Key names are those of ``cifar10_vit.safetensors``.
    """

    def __init__(self) -> None:
        """Random weights."""
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, 128, 4, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 128))
        self.pos_embed = nn.Parameter(torch.zeros(1, 65, 128))
        self.transformer = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(128, 8, 256, batch_first=True), 6, enable_nested_tensor=False
        )
        self.mlp_head = nn.Sequential(nn.LayerNorm(128), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, from the class token."""
        patches = self.patch_embed.proj(x).flatten(2).transpose(1, 2)  # type: ignore[operator]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1) + self.pos_embed
        return self.mlp_head(self.transformer(tokens)[:, 0])  # type: ignore[no-any-return]


def cifar_transformer() -> nn.Module:
    """The network, for ``--model experiments.vit:cifar_transformer``."""
    return CifarTransformer()


class Patches(nn.Module):
    """Patches as tokens, with a learned position each: ``(N, C, H, W) -> (N, tokens, width)``."""

    def __init__(self, channels: int, size: int, patch: int, width: int) -> None:
        """The side of the images and of a patch, in pixels."""
        super().__init__()
        self.project = nn.Conv2d(channels, width, patch, patch)
        self.position = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens."""
        return self.project(x).flatten(2).transpose(1, 2) + self.position  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm layer with GELU, ``(N, tokens, width)`` to the same."""

    def __init__(self, width: int, heads: int) -> None:
        """The hidden layer is twice as wide."""
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Attention, then the hidden layer."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class _Mean(nn.Module):
    """Over the tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, tokens, width) -> (N, width)``."""
        return x.mean(1)


def vision_transformer(
    channels: int, size: int, classes: int, patch: int = 4, width: int = 64, depth: int = 4, heads: int = 4
) -> nn.Sequential:
    """A small pre-norm transformer with GELU, and a linear layer on the mean of its tokens."""
    blocks = [Block(width, heads) for _ in range(depth)]
    return nn.Sequential(
        Patches(channels, size, patch, width), *blocks, nn.LayerNorm(width), _Mean(), nn.Linear(width, classes)
    )
