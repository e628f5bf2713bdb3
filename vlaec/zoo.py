"""Models by name and by hash. A file names its model by the hash of the weights, so it keeps
decoding with that model when newer ones are shipped.

A model is `NAME.safetensors` (fp16 weights, the config in its metadata) next to `NAME.json`, its
card. Listing reads the cards alone and needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .errors import ModelMissingError, ModelWarning, UsageError

if TYPE_CHECKING:
    from .networks import PhotoVLAE, SetVLAE

    Model = TypeVar("Model", PhotoVLAE, SetVLAE)


@dataclass(frozen=True)
class Card:
    """A model, described without loading it."""

    name: str
    sha256: str
    description: str
    parameters: int
    bytes: int
    path: Path

    @property
    def id(self) -> str:
        """First 8 bytes of the SHA-256 of the weights file, as 16 hex digits."""
        return self.sha256[:16]


@dataclass(frozen=True)
class PhotoCard(Card):
    """A model for photographs."""

    default: bool  # used for its qualities unless another is named
    texture: float  # default strength of its texture
    qualities: tuple[float, float]  # lowest and highest, 0 to 100
    graphs: Mapping[str, str]  # SHA-256 of the graphs next to the weights, by name


@dataclass(frozen=True)
class SetCard(Card):
    """A model for sets of small images."""


def for_photos(card: Card) -> PhotoCard:
    """The card of a photo model. Raises UsageError for another one."""
    if not isinstance(card, PhotoCard):
        raise UsageError(f"model {card.name} is for sets of small images: use vlaec archive")
    return card


def for_sets(card: Card) -> SetCard:
    """The card of a set model. Raises UsageError for another one."""
    if not isinstance(card, SetCard):
        raise UsageError(f"model {card.name} is for photographs, not for sets of small images")
    return card


def folders() -> Iterator[Path]:
    """Where models are looked for: $VLAEC_MODELS, what is shipped, other distributions."""
    package = Path(__file__).resolve().parent
    shipped = [package / "weights", package.parent / "models"]
    extra = os.environ.get("VLAEC_MODELS")
    yield from (p for p in ([Path(extra)] if extra else []) + shipped if p.is_dir())
    yield from _distributed()


@lru_cache(maxsize=1)
def _distributed() -> list[Path]:
    """Folders of the packages that entry points in the group `vlaec.models` name."""
    from importlib.metadata import entry_points  # the default model needs none of it

    paths: list[Path] = []
    for entry in entry_points(group="vlaec.models"):
        try:
            spec = find_spec(entry.module)
        except (ImportError, ValueError) as error:  # half uninstalled, say
            what = f"models of the package {entry.module} cannot be found: {error}"
            warnings.warn(what, ModelWarning, stacklevel=2)
            continue
        paths += map(Path, spec.submodule_search_locations or ()) if spec else ()
    return paths


def list_models() -> list[Card]:
    """All models, sorted by name within each folder."""
    return list(_cards())


def defaults() -> list[Card]:
    """The photo models that are used unless another is named."""
    return [card for card in _cards() if isinstance(card, PhotoCard) and card.default]


def _cards() -> Iterator[Card]:
    """As `list_models`, one by one: looking further costs time.

    A bad card or weights that are cut short must not stop the models of other folders: they are
    left out with a warning.
    """
    for folder in folders():
        for path in sorted(folder.glob("*.json")):
            try:
                card = _read_card(path)
            except ModelMissingError as error:
                warnings.warn(f"{error}; it is left out", ModelWarning, stacklevel=2)
                continue
            if not card.path.is_file():  # a card alone is no model, nor a danger
                continue
            if card.path.stat().st_size == card.bytes:
                yield card
            else:
                what = f"weights of model {card.name} in {folder} are not whole"
                warnings.warn(f"{what}; it is left out", ModelWarning, stacklevel=2)


def _read_card(path: Path) -> Card:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        return _card(path, json.loads(path.read_bytes()))
    except Exception as error:  # whatever values of wrong kinds lead to
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelMissingError(f"model card {path.name} cannot be read: {reason}") from error


def _card(path: Path, values: dict[str, Any]) -> Card:
    what = {k: values[k] for k in ("sha256", "description", "parameters", "bytes")}
    if not re.fullmatch("[0-9a-f]{64}", what["sha256"]):
        raise ValueError("the hash is no SHA-256")
    what |= {"name": path.stem, "path": path.with_suffix(".safetensors")}
    match values.get("kind", "photo"):
        case "photo":
            return PhotoCard(
                **what,
                default=bool(values.get("default", False)),
                texture=float(values["texture"]),
                qualities=_range(values.get("qualities", (0, 100))),
                graphs={str(k): str(v) for k, v in values.get("graphs", {}).items()},
            )
        case "set":
            return SetCard(**what)
        case kind:
            raise ValueError(f"models of kind {kind!r} are newer than this program")


def _range(values: Sequence[float]) -> tuple[float, float]:
    lowest, highest = map(float, values)
    if not 0 <= lowest <= highest <= 100:
        raise ValueError(f"no qualities from {lowest:g} to {highest:g}")
    return lowest, highest


def find_name(model_id: bytes) -> str | None:
    """Name of the model with this id, or None."""
    return next((card.name for card in _cards() if card.id == model_id.hex()), None)


def find(name: str | None = None, model_id: bytes | None = None, quality: float = 50) -> Card:
    """The card of a model by name, by id, or the default one for a quality.

    Raises:
        ModelMissingError: there is no such model here.
    """
    if model_id is not None:
        matching = (c for c in _cards() if c.id == model_id.hex())
        wanted = f"with id {model_id.hex()}"
    elif name is not None:
        matching = (c for c in _cards() if c.name == name)
        wanted = f"named {name!r}"
    else:
        photos = (c for c in _cards() if isinstance(c, PhotoCard) and c.default)
        matching = (c for c in photos if c.qualities[0] <= quality <= c.qualities[1])
        wanted = f"marked as default for quality {quality:g}"
    for card in matching:
        return card
    cards = list_models()
    installed = ", ".join(f"{c.name} ({c.id})" for c in cards) or "none"
    sets = any(isinstance(c, SetCard) for c in cards)
    hint = "" if sets else "; for sets of small images: pip install vlaec-models-sets"
    raise ModelMissingError(f"no model {wanted}; installed: {installed}{hint}")


def load(card: Card) -> PhotoVLAE:
    """Read a photo model's weights, in evaluation mode.

    Raises:
        ModelMissingError: the file is missing, damaged, or not the one of the card.
        UsageError: the model is for sets of small images.
    """
    from .networks import PhotoConfig, PhotoVLAE

    return _filled(for_photos(card), lambda config: PhotoVLAE(PhotoConfig.from_dict(config)))


def load_set(card: Card) -> SetVLAE:
    """Read a set model's weights, in evaluation mode.

    Raises:
        ModelMissingError: the file is missing, damaged, or not the one of the card.
        UsageError: the model is for photographs.
    """
    from .networks import SetConfig, SetVLAE

    return _filled(for_sets(card), lambda config: SetVLAE(SetConfig.from_dict(config)))


def _filled(card: Card, build: Callable[[dict[str, Any]], Model]) -> Model:
    """The network that `build` makes of the config in the weights file, with those weights."""
    import torch

    from .networks.seeded import Seeded

    try:
        weights = open_weights(card)
        with Seeded():
            model = build(weights.config)
        model.load_state_dict({k: torch.from_numpy(v).float() for k, v in weights.tensors.items()})
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelMissingError(f"model {card.name} cannot be used: {error}") from error
    # Convolutions run several times faster on CPUs in this memory format.
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Weights:
    """A weights file that is the one of its card."""

    card: Card
    data: bytes
    config: dict[str, Any]  # sizes of the model
    tensors: dict[str, np.ndarray]  # in half precision

    def graph(self, name: str) -> bytes:
        """The ONNX graph NAME.GRAPH.onnx next to the weights.

        Raises:
            ModelMissingError: there is none, or it is not the one of the card.
        """
        path = self.card.path.with_name(f"{self.card.name}.{name}.onnx")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelMissingError(f"graph {path.name} cannot be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != for_photos(self.card).graphs.get(name):
            raise ModelMissingError(f"graph {path.name} is not the one of its model's card")
        return data


def open_weights(card: Card) -> Weights:
    """The weights file of a card.

    Raises:
        ModelMissingError: it is missing, damaged, or not the one of the card.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    try:
        data = card.path.read_bytes()
    except OSError as error:
        raise ModelMissingError(f"weights of model {card.name} cannot be read: {error}") from error
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise ModelMissingError(f"weights of model {card.name} are not those of its card")
    try:
        return Weights(card, data, json.loads(_metadata(data)["config"]), load_tensors(data))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelMissingError(f"model {card.name} cannot be used: {error}") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The free-form strings in a safetensors header."""
    size = int.from_bytes(data[:8], "little")
    values: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return values
