"""The notebook's outputs, made by running its cells: what a reader sees without running anything.

cd examples && PYTHONPATH=.. python -m benchmarks.notebook tour.ipynb
"""

from __future__ import annotations

import argparse
import ast
import base64
import contextlib
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

Cell = dict[str, Any]


def run(cells: list[Cell]) -> None:
    """Run the code cells in order, and give each the outputs that it makes."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for count, cell in enumerate(code, 1):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, f"cell {count}", "exec"), names)
            value = None
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), f"cell {count}", "eval"), names)
        cell["execution_count"], cell["outputs"] = count, []
        if printed.getvalue():
            text = printed.getvalue().splitlines(keepends=True)
            cell["outputs"].append({"name": "stdout", "output_type": "stream", "text": text})
        if value is not None:
            result = {"execution_count": count, "metadata": {}, "output_type": "execute_result"}
            cell["outputs"].append(result | {"data": shown(value)})


def shown(value: object) -> dict[str, str]:
    """What a notebook shows of a value: of a picture a JPEG, which is a tenth of a PNG."""
    if not isinstance(value, Image.Image):
        return {"text/plain": repr(value)}
    file = io.BytesIO()
    value.convert("RGB").save(file, "JPEG", quality=90, subsampling=0)
    return {
        "image/jpeg": base64.b64encode(file.getvalue()).decode(),
        "text/plain": f"<PIL.Image.Image {value.mode} {value.width}x{value.height}>",
    }


def main() -> None:
    """Run a notebook and write it with its outputs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebook", type=Path)
    path: Path = parser.parse_args().notebook
    notebook = json.loads(path.read_text())
    run(notebook["cells"])
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
