"""A run's averaged weights in files that are small enough to be sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .. import checkpoint

# Bytes of a file, with room for its head.
LARGEST = 15 << 20
PATTERN = "weights-*.safetensors"


def write_parts(folder: Path, ema: dict[str, Tensor], facts: dict[str, Any]) -> list[Path]:
    """Write weights in half precision as weights-0.safetensors and so on, which replace older ones;
    `facts` (the recipe, the step ...) go into each."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in ema.items():
        half = value.detach().half().cpu().contiguous()
        if size + half.nbytes > LARGEST and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][name] = half
        size += half.nbytes
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, part in enumerate(parts):
        path = folder / f"weights-{i}.safetensors"
        partial = path.with_suffix(".partial")
        save_file(part, partial, metadata={"facts": json.dumps(facts), "parts": str(len(parts))})
        partial.chmod(0o644)
        partial.replace(path)
        paths.append(path)
    return paths


def read_parts(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and facts of `write_parts`.

    Raises:
        FileNotFoundError: some or all files are missing.
    """
    paths = sorted(folder.glob(PATTERN))
    weights: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    count = 0
    for path in paths:
        with safe_open(path, "pt") as file:
            head = file.metadata()
            facts, count = json.loads(head["facts"]), int(head["parts"])
            weights |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not paths or len(paths) != count:
        raise FileNotFoundError(f"{folder} has not all parts of a model ({PATTERN})")
    return weights, facts


def unpack_parts(folder: Path, run: Path) -> Path:
    """Make a run of `write_parts`'s files, to be exported or resumed; returns its checkpoint.

    Raises:
        FileNotFoundError: some or all files are missing.
        FileExistsError: the run has a checkpoint already.
    """
    target = run / "checkpoint.pt"
    if target.exists():
        raise FileExistsError(f"{target} exists")
    weights, facts = read_parts(folder)
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.json").write_text(json.dumps(facts["recipe"], indent=1) + "\n")
    (run / "commands.txt").write_text("\n".join(facts["commands"]) + "\n")
    progress = {name: facts[name] for name in ("recipe", "step", "elapsed", "texture_begun")}
    checkpoint.write(target, {**progress, "ema": {k: v.float() for k, v in weights.items()}})
    log = folder / "log.jsonl"
    if log.exists():
        (run / "log.jsonl").write_text(log.read_text())
    return target
