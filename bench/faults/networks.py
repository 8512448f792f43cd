"""The networks of the zoo: small enough that a run takes seconds on one core."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import ravine
from ravine.nn import init_


def mlp(
    channels: int, size: int, *, act: type[nn.Module] = nn.ReLU, wide: int = 128, depth: int = 2,
    norm: bool = False, dropout: float = 0.0,
) -> nn.Sequential:  # fmt: skip
    layers: list[nn.Module] = [nn.Flatten()]
    width = channels * size * size
    for _ in range(depth):
        layers += [nn.Linear(width, wide), *([nn.BatchNorm1d(wide)] if norm else []), act()]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, 10))


def plain(
    channels: int, size: int, *, act: type[nn.Module] = nn.ReLU, wide: int = 16, depth: int = 3,
    norm: bool = False,
) -> nn.Sequential:  # fmt: skip
    del size
    layers: list[nn.Module] = []
    for place in range(depth):
        out = wide * (1 + (place > 0))
        layers += [nn.Conv2d(channels, out, 3, padding=1, stride=1 + (place in (1, 2)))]
        layers += [*([nn.BatchNorm2d(out)] if norm else []), act()]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def alexnet(channels: int, size: int, *, dropout: float = 0.5) -> nn.Sequential:
    """Krizhevsky's order of layers, a quarter as wide, for small images."""
    del size
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(5),
        nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(288, 128), nn.ReLU(), nn.Dropout(dropout),
        nn.Linear(128, 10),
    )  # fmt: skip


class Transformer(nn.Module):
    """Patches as tokens, two blocks with the norm in front."""

    def __init__(self, channels: int, size: int, *, wide: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, wide, size // 4, stride=size // 4)
        self.places = nn.Parameter(0.02 * torch.randn(1, 16, wide))
        blocks = [
            nn.TransformerEncoderLayer(
                wide, 4, 4 * wide, dropout=0.0, batch_first=True, norm_first=True, activation="gelu"
            )
            for _ in range(2)
        ]
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.last = nn.LayerNorm(wide), nn.Linear(wide, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        return self.last(self.norm(self.blocks(tokens)).mean(1))


def residual(channels: int, size: int, *, norm: str = "batch") -> nn.Module:
    return ravine.models.build(
        "resnet-cifar-8", classes=10, channels=channels, image_size=size, norm=norm
    )


def wide(channels: int, size: int) -> nn.Module:
    return ravine.models.build("wrn-10-1", classes=10, channels=channels, image_size=size)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp, "plain": plain, "alexnet": alexnet, "transformer": Transformer,
    "residual": residual, "wide": wide,
}  # fmt: skip


def build(name: str, channels: int, size: int, **options: object) -> nn.Module:
    """Returns a network with He weights where it has ReLU; attention keeps torch's own."""
    model = NETWORKS[name](channels, size, **options)
    if name in ("plain", "alexnet", "residual", "wide"):
        init_(model, "he", generator=torch.Generator().manual_seed(torch.initial_seed() % 2**31))
    return model
