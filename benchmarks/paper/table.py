"""`table`: every result in a folder as Markdown, beside the paper's figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import Result

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
# Formats beside which archives are put.
OTHERS = {"png": "PNG", "webp": "WebP", "jxl": "JPEG XL"}
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
                f"{r['dataset']}, {window(r['model_config'])}",
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
    colour = [r for r in results if r["model_config"]["kind"] == "colour"]
    if colour:
        yield from _shares_of_z(colour)


def _shares_of_z(results: list[Result]) -> Iterator[str]:
    yield "## What z has to tell\n"
    yield (
        "KL, and its share of -ELBO, under windows of several sizes: what the PixelCNN cannot see "
        "has to come from z. Means and standard errors over the same images as those of -ELBO "
        "above; bytes and nats are per image.\n"
    )
    rows = []
    for r in results:
        best = r["all"] if "corrected" in r else r["some"]
        nats = best["kl"]["nats"]
        rows.append(
            [
                window(r["model_config"]),
                f"`{r['model']}`",
                _pm([-best["elbo"]["bits_per_dim"][0], best["elbo"]["bits_per_dim"][1]], 3),
                _pm(best["kl"]["bits_per_dim"], 3),
                _pm(nats, 1),
                f"{nats[0] / math.log(2) / 8:.1f}",
                _percent(-nats[0] / best["elbo"]["nats"][0]),
            ]
        )
    heading = ["window", "model", "-ELBO, bits/dim", "KL, bits/dim", "KL, nats", "KL, bytes"]
    yield _table([*heading, "KL / -ELBO"], rows)


def window(config: Mapping[str, Any]) -> str:
    """A set model's receptive field in words: "7x4", "7x4 grey"."""
    return f"{config['receptive_field']}{' grey' if config['grey_context'] else ''}"


def _paper_density(result: Result) -> str:
    if result["dataset"] == "cifar10":
        bits = PAPER_COLOUR.get(window(result["model_config"]))
        return f"{bits:.2f}" if bits else NONE
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


def _flows(results: list[Result]) -> Iterator[str]:
    for r in results:
        yield f"## One deep affine step against a stack of flow steps, on {r['dataset']}\n"
        yield (
            f"Priors fitted to z of `{r['model']}`, {r['minutes_each']:g} minutes each, and the KL "
            "that is left, in nats per test image: what is less goes into -ELBO one to one.\n"
        )
        rows = [
            [
                name,
                f"{row['parameters']:,}",
                str(row["steps"]),
                _pm((row["kl"]["mean"], row["kl"]["error"]), 2),
            ]
            for name, row in r["rows"].items()
        ]
        yield _table(["prior", "parameters", "training steps", "KL"], rows)
    yield _commands(results)


def _archives(results: list[Result]) -> Iterator[str]:
    yield "## Lossless archives\n"
    yield (
        "Test images through `vlaec archive create` and back. Sizes in bits per dimension; *net* "
        "is without the initial bits that bits-back starts with. *Exact* counts the processes, "
        "each with another number of threads or another instruction set, that gave back every "
        "bit.\n"
    )
    sizes, others = [], []
    for r in results:
        elbo = [r["negative_elbo_bits_per_dim"], r["negative_elbo_error"]]
        exact = r["same_images_in_other_processes"]
        sizes.append(
            [
                r["dataset"],
                f"`{r['model']}`",
                str(r["images"]),
                f"{r['bits_per_dim']:.4f}",
                str(r["initial_bits"]),
                f"{r['bits_per_dim_without_initial']:.4f}",
                _pm(elbo, 4),
                f"{r['bits_per_dim'] / elbo[0]:.4f}",
                f"{r['size_without_initial_over_elbo']:.4f}",
                f"{r['encode_images_per_second']:g}, {r['decode_images_per_second']:g}",
                f"{sum(exact.values())} of {len(exact)}",
            ]
        )
        formats = r["others_bits_per_dim"]
        pairs = [[formats[f][way] for f in OTHERS] for way in ("one_file_each", "montage")]
        cells = [f"{bits:.3f}" for pair in pairs for bits in pair]
        others.append([r["dataset"], f"`{r['model']}`", f"{r['bits_per_dim']:.3f}", *cells])
    heading = ["set", "model", "images", "on disk", "initial bits", "net", "-ELBO"]
    ratios = ["on disk / -ELBO", "net / -ELBO", "images/s: encode, decode", "exact"]
    yield _table([*heading, *ratios], sizes)
    yield "The same images in other lossless formats, one file each and as one montage of all:\n"
    each = [f"{name}, {way}" for way in ("each", "montage") for name in OTHERS.values()]
    yield _table(["set", "model", "archive", *each], others)
    yield _commands(results)


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
            _percent(r["originals_recognised"]),
            _percent(r["decodes_recognised"]),
            _percent(r["pixels_that_differ"]),
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


def _fields(results: list[Result]) -> Iterator[str]:
    yield "## Originals and decompressions under several windows\n"
    for r in results:
        models = ", ".join(f"`{m['model']}` ({m['window']})" for m in r["models"])
        yield (
            f"{r['dataset']}: originals in the first row, below them {r['decompressions']} samples "
            f"from one lossy archive of the {r['images']} images by each of {models}.\n"
        )
        yield f"![{r['dataset']}]({r['picture']})\n"
    yield _commands(results)


def _colour(results: list[Result]) -> Iterator[str]:
    for r in results:
        yield "## What a lossy archive keeps of a colour image\n"
        recognised = _percent(r["references"][0]["originals_recognised"])
        yield (
            f"{r['images']} test images of {r['dataset']} through `vlaec archive create --lossy` "
            f"and back, samples of each: {r['decompressions']}. *Means* are those of 4x4 blocks: "
            "their PSNR, and the root mean square error in levels of their luma (Y) and of their "
            "colour (Cb, Cr). *Texture* is what an image has beyond them: its energy as a share of "
            "the originals', and its correlation with theirs, which is near 0 where texture is "
            "invented anew. A small convolutional network that learned from the training set "
            f"recognises {recognised} of the originals; its answer for decodes is compared with "
            "the truth and with its own for the originals. *Block means* is what perfect shapes "
            "and colours without any texture would give, *other image* what chance would.\n"
        )
        names = [f"{m['window']}, `{m['model']}`" for m in r["models"]]
        names += [m["reference"] for m in r["references"]]
        measured = [*r["models"], *r["references"]]
        rows = [
            [
                name,
                _number(m["bytes"] / r["images"] if "bytes" in m else None, 1),
                _number(m["psnr_of_means"], 2),
                _number(m["luma_error"], 2),
                _number(m["colour_error"], 2),
                _number(m["psnr"], 2),
                _number(m["texture_energy"], 2),
                _number(m["texture_correlation"], 2),
                _percent(m["decodes_recognised"]),
                _percent(m["same_answer"]),
            ]
            for name, m in zip(names, measured, strict=True)
        ]
        heading = ["window", "bytes per image", "PSNR of means, dB", "luma error of means"]
        heading += ["colour error of means", "PSNR, dB", "texture energy", "texture correlation"]
        yield _table([*heading, "recognised", "same answer"], rows)
        yield _commands([r])


PARTS = {
    "likelihood": _density,
    "baselines": _baselines,
    "archive": _archives,
    "identity": _identity,
    "flows": _flows,
    "figure": _figures,
    "fields": _fields,
    "colour": _colour,
}


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


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
