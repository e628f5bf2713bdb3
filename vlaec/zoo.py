"""Models by name and by hash. A file names its model by the hash of the weights, so it keeps
decoding with that model when newer ones are shipped.

A model is `NAME.safetensors` (fp16 weights, the config in its metadata) beside `NAME.json`, its
card. Listing reads the cards alone and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ModelMissingError

if TYPE_CHECKING:
    from .model import PhotoVLAE


@dataclass(frozen=True)
class Card:
    """What is known of a model without loading it."""

    name: str
    sha256: str
    description: str
    parameters: int
    bytes: int
    default: bool
    texture: float  # default strength of its texture
    path: Path

    @property
    def id(self) -> str:
        """First 8 bytes of the SHA-256 of the weights file, as 16 hex digits."""
        return self.sha256[:16]


def folders() -> list[Path]:
    """Where models are looked for: $VLAEC_MODELS, then the shipped ones."""
    package = Path(__file__).resolve().parent
    shipped = [package / "weights", package.parent / "models"]
    own = os.environ.get("VLAEC_MODELS")
    return [p for p in ([Path(own)] if own else []) + shipped if p.is_dir()]


def list_models() -> list[Card]:
    """All models, sorted by name within each folder."""
    return [_read_card(path) for folder in folders() for path in sorted(folder.glob("*.json"))]


def _read_card(path: Path) -> Card:
    try:
        values = json.loads(path.read_text())
        return Card(
            name=path.stem,
            path=path.with_suffix(".safetensors"),
            **{k: values[k] for k in ("sha256", "description", "parameters", "bytes")},
            default=bool(values.get("default", False)),
            texture=float(values["texture"]),
        )
    except (OSError, ValueError, KeyError) as error:
        raise ModelMissingError(f"model card {path.name} cannot be read: {error}") from error


def find_name(model_id: bytes) -> str | None:
    """Name of the model with this id, or None."""
    return next((card.name for card in list_models() if card.id == model_id.hex()), None)


def find(name: str | None = None, model_id: bytes | None = None) -> Card:
    """The card of a model by name, by id, or the default one.

    Raises:
        ModelMissingError: there is no such model here.
    """
    cards = list_models()
    if model_id is not None:
        matching = [c for c in cards if c.id == model_id.hex()]
        wanted = f"with id {model_id.hex()}"
    elif name is not None:
        matching = [c for c in cards if c.name == name]
        wanted = f"named {name!r}"
    else:
        matching = [c for c in cards if c.default]
        wanted = "marked as default"
    if not matching:
        known = ", ".join(f"{c.name} ({c.id})" for c in cards) or "none"
        raise ModelMissingError(f"no model {wanted}; installed: {known}")
    return matching[0]


def load(card: Card) -> PhotoVLAE:
    """Read a model's weights, in evaluation mode.

    Raises:
        ModelMissingError: the file is missing, damaged, or not the one of the card.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_tensors

    from .model import PhotoConfig, PhotoVLAE

    try:
        data = card.path.read_bytes()
    except OSError as error:
        raise ModelMissingError(f"weights of model {card.name} cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise ModelMissingError(f"weights of model {card.name} are not those of its card")
    try:
        config = json.loads(_metadata(data)["config"])
        model = PhotoVLAE(PhotoConfig.from_dict(config))
        model.load_state_dict({k: v.float() for k, v in load_tensors(data).items()})
    except (KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelMissingError(f"model {card.name} cannot be used: {error}") from error
    # Convolutions run several times faster on CPUs in this memory format.
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


def _metadata(data: bytes) -> dict[str, str]:
    """The free-form strings in a safetensors header."""
    size = int.from_bytes(data[:8], "little")
    values: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return values
