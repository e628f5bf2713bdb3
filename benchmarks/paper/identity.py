"""`identity`: whether an image stays what it was when a lossy archive has resampled it.

A small convolutional network learns the classes from training images: of digits from grey ones,
binarised anew at every step, of colour images from random crops and mirror images. It then labels
test images and their lossy decodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlaec.bench.likelihood import as_input
from vlaec.networks.seeded import Seeded
from vlaec.train.sets.data import SetData, binarise

BATCH = 128
CLASSES = 10
CROP_MARGIN = 4  # by which a training image in colour is shifted at most, along each side


def train_classifier(data: SetData, epochs: int, seed: int = 0) -> nn.Sequential:
    """A classifier of images [N, C, H, W], binary or colour in [0, 1], from a set with labels.

    Raises:
        ValueError: the labels are not known, or the images are binary (a grey set is wanted).
    """
    colour = data.train.ndim == 4
    if data.train_labels is None or not (data.dynamic or colour):
        raise ValueError("the classifier learns from grey or colour images with labels")
    random = np.random.Generator(np.random.Philox(seed))
    with Seeded(seed):
        network = _colour_network() if colour else _digit_network(data.train.shape[1])
    vary, rate = (shift_and_mirror, 1e-2) if colour else (binarise, 3e-3)
    steps = epochs * (len(data.train) // BATCH)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, max(steps, 1))
    for _ in range(epochs):
        order = random.permutation(len(data.train))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            x = as_input(vary(data.train[chosen], random))
            labels = torch.from_numpy(data.train_labels[chosen].astype(np.int64))
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=colour):
                loss = F.cross_entropy(network(x), labels)
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def classify(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Classes [N] of images: binary [N, H, W] of 0 and 1, or colour [N, H, W, 3] of 0..255."""
    parts = [network(part).argmax(1) for part in as_input(images).split(500)]
    return torch.cat(parts).numpy()


def agreement(
    network: nn.Module, originals: np.ndarray, decodes: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """Shares of images, each 0..1: recognised before and after, and with the same answer.

    Args:
        originals, decodes: [N, ...] as `classify` takes them.
        labels: [N], the truth.
    """
    before, after = (classify(network, images) for images in (originals, decodes))
    return {
        "originals_recognised": float((before == labels).mean()),
        "decodes_recognised": float((after == labels).mean()),
        "same_answer": float((before == after).mean()),
    }


def compare(
    network: nn.Module, originals: np.ndarray, decodes: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """`agreement` about digits, binary [N, H, W]; the shares of pixels and digits that differ."""
    differ = originals != decodes
    return {
        **agreement(network, originals, decodes, labels),
        "pixels_that_differ": float(differ.mean()),
        "digits_that_differ": float(differ.any((1, 2)).mean()),
    }


def shift_and_mirror(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Colour images [N, H, W, 3], each shifted (its border reflected) and half of them mirrored."""
    n, height, width = images.shape[:3]
    margin = (CROP_MARGIN, CROP_MARGIN)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)), "reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), (1, 2))
    down, right = random.integers(0, 2 * CROP_MARGIN + 1, (2, n))
    cut = windows[np.arange(n), down, right]  # [N, 3, H, W]
    mirrored = random.random(n) < 0.5
    cut[mirrored] = cut[mirrored, ..., ::-1]
    return cut.transpose(0, 2, 3, 1)


def _digit_network(side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * (side // 4) ** 2, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )


def _colour_network() -> nn.Sequential:
    """Three stages of one residual block each, at strides 2, 4 and 8; of any image size."""
    network = nn.Sequential(
        nn.PixelUnshuffle(2),
        _convolution(12, 32),
        _Residual(32),
        _convolution(32, 64, stride=2),
        _Residual(64),
        _convolution(64, 128, stride=2),
        _Residual(128),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(128, CLASSES),
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.branch(x)
        return out


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    )
