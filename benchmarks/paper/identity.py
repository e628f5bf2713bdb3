"""`identity`: whether a digit stays the digit it was when a lossy archive has resampled it.

A small convolutional network learns the digits from grey training images, binarised anew at every
step. It then labels test digits and their lossy decodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlaec.train.sets_data import SetData, binarise

BATCH = 128
CLASSES = 10


def train_classifier(data: SetData, epochs: int, seed: int = 0) -> nn.Sequential:
    """A classifier of binary images [N, 1, 28, 28], from a dynamic set with labels.

    Raises:
        ValueError: the set is not dynamic or its labels are not known.
    """
    if data.train_labels is None or not data.dynamic:
        raise ValueError("the classifier learns from grey images with labels")
    torch.manual_seed(seed)
    random = np.random.Generator(np.random.Philox(seed))
    side = data.train.shape[1] // 4
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * side**2, 128),
        nn.ReLU(),
        nn.Linear(128, CLASSES),
    )
    steps = epochs * (len(data.train) // BATCH)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, max(steps, 1))
    for _ in range(epochs):
        order = random.permutation(len(data.train))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            x = _as_input(binarise(data.train[chosen], random))
            labels = torch.from_numpy(data.train_labels[chosen].astype(np.int64))
            optimiser.zero_grad()
            F.cross_entropy(network(x), labels).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def classify(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Classes [N] of binary images [N, H, W]."""
    parts = [network(part).argmax(1) for part in _as_input(images).split(500)]
    return torch.cat(parts).numpy()


def compare(
    network: nn.Module, originals: np.ndarray, decodes: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Shares of digits and pixels, each 0..1.

    Args:
        originals, decodes: binary [N, H, W].
        labels: [N].
    """
    before, after = (classify(network, images) for images in (originals, decodes))
    differ = originals != decodes
    return {
        "originals_recognised": float((before == labels).mean()),
        "decodes_recognised": float((after == labels).mean()),
        "same_answer": float((before == after).mean()),
        "pixels_that_differ": float(differ.mean()),
        "digits_that_differ": float(differ.any((1, 2)).mean()),
    }


def _as_input(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).float()[:, None]
