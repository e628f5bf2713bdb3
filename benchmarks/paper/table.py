"""`table`: every result in a folder as Markdown, beside the paper's figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from .record import Result

# Chen et al. 2016: NLL of a VLAE in nats, by 4 096 samples; that of OMNIGLOT is fine-tuned.
PAPER_NLL = {
    "mnist-static": 79.03,
    "mnist-dynamic": 78.53,
    "omniglot": 89.83,
    "caltech": 77.36,
}
PAPER_KL = {"mnist-static": 13.3, "mnist-dynamic": 11.73}
# Bits per dimension of CIFAR-10 by window, by 512 samples.
PAPER_COLOUR = {"4x2": 3.12, "7x4": 2.95}
# By row of the ablation and by set: NLL and KL in nats.
PAPER_BASELINES = {
    ("pixelcnn", "mnist-dynamic"): (87.55, 0.0),
    ("gaussian", "mnist-dynamic"): (79.48, 10.60),
    ("af", "mnist-dynamic"): (78.94, 11.73),
    ("factorised", "mnist-static"): (79.30, 25.9),
    ("af", "mnist-static"): (79.03, 13.3),
}
NONE = "\N{EN DASH}"


def read_results(folder: Path) -> list[Result]:
    """Every result below `folder`, sorted by file name.

    Raises:
        ValueError: a file is no result.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        if not isinstance(result, dict) or "kind" not in result:
            raise ValueError(f"{path} is no result of this program")
        results.append(result)
    return results


def report(results: Sequence[Result]) -> str:
    """All of them as Markdown; a part that has no result is left out."""
    of_kind = {kind: [r for r in results if r["kind"] == kind] for kind in PARTS}
    parts = [text for kind, part in PARTS.items() if of_kind[kind] for text in part(of_kind[kind])]
    return "\n".join(["# Results\n", *parts])


def _density(results: list[Result]) -> Iterator[str]:
    yield "## Likelihood of test sets\n"
    yield (
        "NLL by importance sampling, mean and standard error over images. Binary sets in nats per "
        "image, colour in bits per dimension. *all* is the whole test set: measured with few "
        "samples and corrected by what more of them gain on the images of the column before; its "
        "error is that of the correction.\n"
    )
    rows = []
    for r in results:
        unit = "nats" if r["model_config"]["kind"] == "binary" else "bits_per_dim"
        digits = 2 if unit == "nats" else 3
        some = r["some"]
        best, whole = some, NONE
        if "corrected" in r:
            best, whole = r["all"], _pm(r["corrected"][unit], digits)
        elif some["images"] == r["of"]:
            whole = _pm(some["nll"][unit], digits)
        rows.append(
            [
                f"{r['dataset']}, {_window(r)}",
                f"`{r['model']}`",
                f"{_pm(some['nll'][unit], digits)} ({some['images']} x {some['samples']})",
                whole,
                _pm([-best["elbo"][unit][0], best["elbo"][unit][1]], digits),
                _pm(best["kl"][unit], digits),
                _paper_density(r),
                _cost(r),
            ]
        )
    heading = ["set, window", "model", "NLL (images x samples)", "NLL, all", "-ELBO", "KL"]
    yield _table([*heading, "paper: NLL, KL", "minutes"], rows)
    yield _commands(results)


def _window(result: Result) -> str:
    config = result["model_config"]
    return f"{config['receptive_field']}{' grey' if config['grey_context'] else ''}"


def _paper_density(result: Result) -> str:
    if result["dataset"] == "cifar10":
        window = _window(result)
        return f"{PAPER_COLOUR[window]:.2f}" if window in PAPER_COLOUR else NONE
    nll, kl = PAPER_NLL[result["dataset"]], PAPER_KL.get(result["dataset"])
    return f"{nll:.2f}, {kl:g}" if kl else f"{nll:.2f}"


def _baselines(results: list[Result]) -> Iterator[str]:
    for result in results:
        yield f"## Ablation on {result['dataset']}\n"
        yield (
            f"Every row trained for {result['budget']} from the same seed, evaluated on "
            f"{result['images']} test images with {result['samples']} samples; nats per image, "
            "mean and standard error. The paper trained for much longer. It compares AF prior and "
            "IAF posterior for independent pixels (static MNIST: 79.30 and 79.88).\n"
        )
        rows = []
        for name, row in result["rows"].items():
            paper = PAPER_BASELINES.get((name, result["dataset"]))
            rows.append(
                [
                    row["about"],
                    f"{row['parameters']:,}",
                    str(row["steps"]),
                    _cost(row),
                    _pm(row["nll"]["nats"], 2),
                    _pm([-row["elbo"]["nats"][0], row["elbo"]["nats"][1]], 2),
                    _pm(row["kl"]["nats"], 2),
                    f"{paper[0]:.2f}, {paper[1]:g}" if paper else NONE,
                ]
            )
        heading = ["model", "parameters", "steps", "minutes", "NLL", "-ELBO", "KL"]
        yield _table([*heading, "paper: NLL, KL"], rows)
        yield _commands(list(result["rows"].values()))


def _identity(results: list[Result]) -> Iterator[str]:
    yield "## What a lossy archive keeps of a digit\n"
    yield (
        "Test digits through `vlaec archive create --lossy` and back, labelled by a small "
        "convolutional network that learned from the training set.\n"
    )
    rows = [
        [
            r["dataset"],
            f"`{r['model']}`",
            str(r["images"]),
            f"{r['bytes'] / r['images']:.1f}",
            f"{100 * r['originals_recognised']:.1f} %",
            f"{100 * r['decodes_recognised']:.1f} %",
            f"{100 * r['pixels_that_differ']:.1f} %",
            _cost(r),
        ]
        for r in results
    ]
    heading = ["set", "model", "digits", "bytes per digit", "originals recognised"]
    yield _table([*heading, "decodes recognised", "pixels that differ", "minutes"], rows)
    yield _commands(results)


def _figures(results: list[Result]) -> Iterator[str]:
    yield "## Originals and decompressions\n"
    for r in results:
        yield (
            f"{r['dataset']}: originals in the first row, below them samples from one lossy "
            f"archive of {r['bytes']} bytes ({r['images']} images) by `{r['model']}`.\n"
        )
        yield f"![{r['dataset']}]({r['picture']})\n"
    yield _commands(results)


PARTS = {
    "likelihood": _density,
    "baselines": _baselines,
    "identity": _identity,
    "figure": _figures,
}


def _pm(value: Sequence[float], digits: int) -> str:
    mean, error = value
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def _machine(result: Result) -> str:
    machine = result["machine"]
    threads = machine["threads"]
    return f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}"


def _cost(result: Result) -> str:
    return f"{result['minutes']:g}"


def _commands(results: Sequence[Result]) -> str:
    lines = [f"    {command}" for command in dict.fromkeys(r["command"] for r in results)]
    machines = sorted({_machine(r) for r in results})
    return "Measured on " + "; ".join(machines) + " by\n\n" + "\n".join(lines) + "\n"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, all but its first column aligned to the right."""
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
