"""Make golden archives of the format's newest version: `python tests/golden_sets/make.py`.

Archives of older versions stay as they are: every later program must decode them. Run it only when
the format changes on purpose, with another MARK; say so in CHANGELOG.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vlaec.networks import SET_PRESETS, SetConfig

if TYPE_CHECKING:
    from vlaec.networks import SetVLAE

HERE = Path(__file__).resolve().parent
MARK = "v2"


def make_model(config: SetConfig, seed: int = 0) -> SetVLAE:
    """An untrained model whose distributions are anything but flat."""
    import torch

    from vlaec.networks import SetVLAE

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SetVLAE(config)
        with torch.no_grad():
            model.pixelcnn.head.weight.normal_(std=0.2)
            if config.latent_channels:
                model.analysis[-1].weight[: config.latent_channels].mul_(5)
                for parameter in model.prior.parameters():
                    parameter.mul_(2).add_(torch.randn_like(parameter), alpha=0.02)
    return model.eval().requires_grad_(False)


def save_model(folder: Path, name: str, config: SetConfig, seed: int = 0) -> None:
    """Weights and card of `make_model`, for $VLAEC_MODELS."""
    from safetensors.torch import save

    model = make_model(config, seed)
    halves = {key: value.half() for key, value in model.state_dict().items()}
    data = save(halves, metadata={"config": json.dumps(config.to_dict())})
    card = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "description": "untrained",
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": len(data),
        "kind": "set",
    }
    (folder / f"{name}.safetensors").write_bytes(data)
    (folder / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")


def make_images(config: SetConfig, count: int, seed: int = 0) -> np.ndarray:
    """Images as archives take them: half smooth, half noise."""
    rng = np.random.default_rng(seed)
    n, y, x = np.ogrid[:count, : config.height, : config.width]
    wave = 127.5 + 90 * np.sin((x + 2 * n) / 3) * np.cos((y - n) / 4)
    noise = rng.normal(0, 40, (count, config.height, config.width, 3))
    levels = np.clip(wave[..., None] + noise * (n[..., None] % 2), 0, 255)
    if config.kind == "colour":
        return levels.astype(np.uint8)
    return (levels[..., 0] > 128) * np.uint8(255)


def main() -> None:
    """Write the archives, and the hashes of what they must decode to."""
    from vlaec.sets import archive

    os.environ["VLAEC_MODELS"] = str(HERE / "models")
    expected = json.loads((HERE / "expected.json").read_text())
    for name in ("tiny-binary", "tiny-colour"):
        images = make_images(SET_PRESETS[name], 9)
        for kind, lossy in (("lossless", False), ("lossy", True)):
            path = HERE / f"{name}-{kind}-{MARK}.vlaa"
            path.write_bytes(archive.create(images, name, lossy, seed=5 if lossy else 0))
            decoded = archive.extract(path.read_bytes())
            expected[path.name] = hashlib.sha256(decoded.tobytes()).hexdigest()
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
