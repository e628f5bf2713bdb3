"""Initial weights from a generator of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vlaec.networks import PRESETS, PhotoVLAE, SetVLAE
from vlaec.networks.seeded import Seeded
from vlaec.networks.set_config import SET_PRESETS
from vlaec.train.photo.adversary import Adversary

BUILDS: list[Callable[[], nn.Module]] = [
    lambda: PhotoVLAE(PRESETS["tiny"]),
    lambda: SetVLAE(SET_PRESETS["tiny-binary"]),
    lambda: SetVLAE(SET_PRESETS["tiny-colour"]),
    Adversary,
]


@pytest.mark.parametrize("build", BUILDS)
def test_weights_are_torchs_and_its_generator_stays(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(5)
    wanted = build().state_dict()
    before = torch.get_rng_state()
    with Seeded(5):
        weights = build().state_dict()
    with Seeded(6):
        others = build().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[name], value) for name, value in wanted.items())
    assert not all(torch.equal(others[name], value) for name, value in wanted.items())
