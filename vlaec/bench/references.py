"""Curves in the schema of CompressAI's result files, written and read."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import UsageError
from .curves import Curve
from .metrics import METRICS
from .summary import Summary


def result_key(metric: str) -> str:
    """The name of a metric in CompressAI's result schema."""
    return METRICS[metric].result_key or metric


def compressai_result(summary: Summary, row: str) -> dict[str, object]:
    """A curve in the schema of CompressAI's result files (https://github.com/InterDigitalInc)."""
    curve = summary.curves[row]
    return {
        "name": row,
        "description": f"{summary.versions.get(row, row)}; {curve.images} pictures",
        "results": {
            "level": curve.levels,
            "bpp": curve.bpp,
            **{result_key(name): values for name, values in curve.metrics.items()},
            "encoding_time": curve.encode_time,
            "decoding_time": curve.decode_time,
        },
    }


def read_reference(path: Path) -> Curve:
    """A curve from a CompressAI result file. Raises UsageError if it is not one."""
    try:
        file = json.loads(path.read_text())
        results = {key.lower(): values for key, values in file["results"].items()}
        bpp = [float(value) for value in results["bpp"]]
        metrics = {}
        for name in METRICS:
            values = results.get(result_key(name), results.get(name))
            if values is not None and len(values) == len(bpp):
                metrics[name] = [None if v is None else float(v) for v in values]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a CompressAI result file ({error!r})") from error
    return Curve(str(file.get("name", path.stem)), [], bpp, metrics)
