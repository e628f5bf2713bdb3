"""The pictures in docs/how-it-works.md that need no model.

python -m benchmarks.diagrams --out docs/figures
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

GREY, BLUE, ORANGE, GREEN = "#888888", "#4477aa", "#ee8866", "#44aa77"


def network() -> Figure:
    """What the encoder computes, what the file holds, what the decoder computes."""
    figure = Figure(figsize=(8, 3))
    axes = _blank(figure)
    boxes = {
        "picture x": (0.0, 1.0, GREY),
        "encoder": (1.7, 1.0, BLUE),
        "latent z\nintegers, 1/16": (3.4, 1.0, GREEN),
        "hyper-latent w\n1/64": (3.4, 2.4, GREEN),
        "mean decoder": (5.3, 1.7, BLUE),
        "detail decoder\n+ PixelCNN": (5.3, 0.3, ORANGE),
        "structure": (7.2, 1.7, GREY),
        "texture": (7.2, 0.3, GREY),
    }
    for text, (x, y, colour) in boxes.items():
        axes.add_patch(Rectangle((x, y), 1.35, 0.8, facecolor=colour, alpha=0.25, edgecolor=colour))
        axes.text(x + 0.675, y + 0.4, text, ha="center", va="center", fontsize=8)
    arrows = [
        ((1.35, 1.4), (1.7, 1.4)),
        ((3.05, 1.4), (3.4, 1.4)),
        ((4.075, 1.8), (4.075, 2.4)),
        ((4.75, 1.5), (5.3, 2.0)),
        ((4.75, 1.3), (5.3, 0.8)),
        ((6.65, 2.1), (7.2, 2.1)),
        ((6.65, 0.7), (7.2, 0.7)),
    ]
    for start, end in arrows:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": GREY})
    axes.text(7.875, 1.35, "+", ha="center", va="center", fontsize=14)
    axes.set(xlim=(-0.1, 8.7), ylim=(0.1, 3.4))
    return figure


def stack() -> Figure:
    """The stack while a picture is coded: w is popped from bits that z's last slice put there."""
    steps = [
        "start",
        "push\nz late",
        "pop w with\nq(w | z early)",
        "push\nz early",
        "push w\nwith p(w)",
    ]
    parts = [
        [],
        [("z late", 3.0, GREEN)],
        [("z late", 1.9, GREEN)],
        [("z late", 1.9, GREEN), ("z early", 3.6, BLUE)],
        [("z late", 1.9, GREEN), ("z early", 3.6, BLUE), ("w", 1.5, ORANGE)],
    ]
    figure = Figure(figsize=(8, 3))
    axes = _blank(figure)
    for i, (step, content) in enumerate(zip(steps, parts, strict=True)):
        x, level = 1.7 * i, 0.0
        for name, height, colour in content:
            axes.add_patch(Rectangle((x, level), 1.1, height, facecolor=colour, alpha=0.3))
            axes.text(x + 0.55, level + height / 2, name, ha="center", va="center", fontsize=8)
            level += height
        axes.plot([x, x + 1.1], [0, 0], color=GREY)
        axes.text(x + 0.55, -0.25, step, ha="center", va="top", fontsize=8)
    axes.text(
        3.95,
        2.45,
        "bits taken as\nrandom numbers",
        ha="center",
        va="center",
        fontsize=7,
        color=GREY,
    )
    axes.add_patch(Rectangle((3.4, 1.9), 1.1, 1.1, fill=False, linestyle=":", edgecolor=GREY))
    axes.set(xlim=(-0.1, 8.1), ylim=(-1.3, 7.2))
    return figure


def grid() -> Figure:
    """One dot product, its terms added in many orders: float32 disagrees, the grid does not."""
    random = np.random.default_rng(0)
    terms = random.normal(size=512)
    x = np.round(random.uniform(-8, 8, 512) * 2**12) / 2**12
    w = np.round(terms * 2**16) / 2**16
    orders = [random.permutation(512) for _ in range(400)]
    single = [np.cumsum((w[o] * x[o]).astype(np.float32), dtype=np.float32)[-1] for o in orders]
    exact = [np.cumsum(w[o] * x[o])[-1] for o in orders]
    figure = Figure(figsize=(8, 2.4))
    for place, (name, sums) in enumerate({"float32": single, "float64 on the grid": exact}.items()):
        axes = figure.add_subplot(1, 2, place + 1)
        offsets = (np.array(sums, np.float64) - exact[0]) * 1e6
        values, counts = np.unique(offsets, return_counts=True)
        axes.vlines(values, 0, counts, color=(ORANGE, BLUE)[place])
        axes.set_title(f"{name}: {len(values)} result{'s' * (len(values) > 1)}", fontsize=9)
        axes.set_xlabel("difference, millionths", fontsize=8)
        axes.set_xlim(-60, 60)
        axes.tick_params(labelsize=7)
    figure.tight_layout()
    return figure


def wavefront() -> Figure:
    """The step in which each pixel is sampled, for a window of 5 columns and 3 rows."""
    height, width, reach = 7, 14, 2
    y, x = np.mgrid[:height, :width]
    step = x + (reach + 1) * y
    figure = Figure(figsize=(8, 3.6))
    axes = _blank(figure)
    axes.imshow(step, cmap="viridis", alpha=0.35)
    for row in range(height):
        for column in range(width):
            now = step[row, column] == 15
            axes.text(
                *(column, row, step[row, column]),
                ha="center",
                va="center",
                fontsize=8,
                fontweight="bold" if now else "normal",
                color="#bb3311" if now else "black",
            )
    return figure


def _blank(figure: Figure) -> Axes:
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    return axes


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "vlaec", "savefig.facecolor": "white"}):
        for draw in (network, stack, grid, wavefront):
            draw().savefig(args.out / f"{draw.__name__}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
