"""The paper's table and figures (Chen et al. 2016) for models of this repository.

    python -m benchmarks.paper likelihood --model NAME --data DATA --dataset mnist-static --out F
    python -m benchmarks.paper figure     --model NAME --data DATA --dataset mnist-static
    python -m benchmarks.paper identity   --model NAME --data DATA --out F
    python -m benchmarks.paper fields     --models NAME ... --data DATA
    python -m benchmarks.paper colour     --models NAME ... --data DATA --out F
    python -m benchmarks.paper baselines  --data DATA --dataset mnist-static --minutes 4
    python -m benchmarks.paper flows      --model NAME --data DATA --dataset mnist-static --out F
    python -m benchmarks.paper table      --results FOLDER

DATA is a folder with the sets' files (docs/TRAINING.md). Results are JSON files;
`table` writes all those in a folder (benchmarks/results/paper unless told) as table.md. `fields`
and `colour` take CIFAR-10.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import RESULTS, evenly, write
from vlaec.errors import VlaecError
from vlaec.train.run import Budget
from vlaec.train.sets.data import DATASETS, load
from vlaec.train.sets.recipe import SET_RECIPES

from . import baselines, density, identity, table
from .record import Recorder
from .sets import NamedModel, load_model, load_test

PAPER, CIFAR10 = RESULTS / "paper", RESULTS / "cifar10"
COLOUR = "cifar10"
BINARY = tuple(name for name in DATASETS if name != COLOUR)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    try:
        args.run_command(args, Recorder(arguments))
    except (OSError, ValueError, VlaecError) as error:
        print(f"benchmarks.paper: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)

    one = commands.add_parser("likelihood", help="ELBO, KL and NLL on a test set")
    one.set_defaults(run_command=_likelihood)
    _add_model(one)
    one.add_argument("--dataset", choices=DATASETS, required=True)
    one.add_argument("--samples", type=_positive, default=4096)
    one.add_argument("--images", type=_positive, default=500, help="with so many samples")
    one.add_argument("--all-samples", type=int, default=16, help="for all images; 0: leave it out")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--out", type=Path, required=True)

    drawn = commands.add_parser("figure", help="originals against lossy decompressions")
    drawn.set_defaults(run_command=_figure)
    _add_model(drawn)
    drawn.add_argument("--dataset", choices=DATASETS, required=True)
    drawn.add_argument("--images", type=_positive, default=10)
    drawn.add_argument("--decompressions", type=_positive, default=4)
    drawn.add_argument("--scale", type=_positive, default=2)
    drawn.add_argument("--out", type=Path, default=PAPER, help="folder")

    kept = commands.add_parser("identity", help="whether lossy digits stay what they were")
    kept.set_defaults(run_command=_identity)
    _add_model(kept)
    kept.add_argument("--dataset", choices=("mnist-static", "mnist-dynamic"), required=True)
    kept.add_argument("--images", type=_positive, default=1000)
    kept.add_argument("--epochs", type=_positive, default=4, help="of the classifier")
    kept.add_argument("--out", type=Path, required=True)

    windows = commands.add_parser("fields", help="figure 3: decompressions under several windows")
    windows.set_defaults(run_command=_fields)
    _add_models(windows)
    windows.add_argument("--images", type=_positive, default=10)
    windows.add_argument("--decompressions", type=_positive, default=2)
    windows.add_argument("--scale", type=_positive, default=3)
    windows.add_argument("--out", type=Path, default=CIFAR10, help="folder")

    seen = commands.add_parser("colour", help="what lossy colour images keep, in numbers")
    seen.set_defaults(run_command=_colour)
    _add_models(seen)
    seen.add_argument("--images", type=_positive, default=500)
    seen.add_argument("--decompressions", type=_positive, default=2)
    seen.add_argument("--epochs", type=_positive, default=12, help="of the classifier")
    seen.add_argument("--out", type=Path, required=True)

    rows = commands.add_parser("baselines", help="train and compare the paper's baselines")
    rows.set_defaults(run_command=_baselines)
    rows.add_argument("--data", type=Path, required=True)
    rows.add_argument("--dataset", choices=BINARY, default="mnist-static")
    rows.add_argument("--preset", choices=sorted(SET_RECIPES), default="mnist")
    budget = rows.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="budget of each row")
    budget.add_argument("--steps", type=int, help="the same in steps")
    rows.add_argument("--rows", nargs="+", choices=list(baselines.ROWS))
    rows.add_argument("--images", type=_positive, default=500)
    rows.add_argument("--samples", type=_positive, default=256)
    rows.add_argument("--runs", type=Path, default=Path("runs/baselines"))
    rows.add_argument("--out", type=Path, default=PAPER / "baselines.json")

    stacked = commands.add_parser("flows", help="one affine step against a stack, as priors")
    stacked.set_defaults(run_command=_flows)
    _add_model(stacked)
    stacked.add_argument("--dataset", choices=("mnist-static", "caltech"), required=True)
    stacked.add_argument("--minutes", type=float, default=3, help="for each")
    stacked.add_argument("--out", type=Path, required=True)

    text = commands.add_parser("table", help="all results as Markdown")
    text.set_defaults(run_command=_table)
    text.add_argument("--results", type=Path, default=PAPER, help="folder of JSON files")
    text.add_argument("--out", type=Path, help="default: table.md in that folder")

    for command in commands.choices.values():
        command.add_argument("--threads", type=_positive, default=1)
    return parser


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", required=True, help="a name from `vlaec models`")
    command.add_argument("--data", type=Path, required=True, help="folder with the set's files")


def _add_models(command: argparse.ArgumentParser) -> None:
    command.add_argument("--models", nargs="+", required=True, help="names from `vlaec models`")
    command.add_argument("--data", type=Path, required=True, help="folder with CIFAR-10's files")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _likelihood(args: argparse.Namespace, recorder: Recorder) -> None:
    named = load_model(args.model)
    _, images = load_test(args.dataset, args.data)

    def progress(done: int) -> None:
        if done % 50 == 0:
            print(f"{done} images", file=sys.stderr, flush=True)

    summary = density.measure(
        named.model, images, args.samples, args.images, args.all_samples, args.seed, progress
    )
    values = {"dataset": args.dataset, "model": args.model, "sha256": named.sha256}
    config = named.model.config.to_dict()
    write(args.out, recorder.result("likelihood", **values, model_config=config, **summary))


def _figure(args: argparse.Namespace, recorder: Recorder) -> None:
    from . import figure

    _, images = load_test(args.dataset, args.data)
    originals = as_pictures(images[evenly(len(images), args.images)])
    size, decodes = figure.decompressions(originals, args.model, args.decompressions)
    name = f"figure-{args.model}"
    picture = args.out / f"{name}.png"
    figure.sheet([[originals], decodes], args.scale).save(picture, optimize=True)
    values = {"dataset": args.dataset, "model": args.model, "images": len(originals)}
    result = recorder.result("figure", **values, bytes=size, picture=picture.name)
    write(args.out / f"{name}.json", result)


def _identity(args: argparse.Namespace, recorder: Recorder) -> None:
    from . import figure

    data, images = load_test(args.dataset, args.data)
    if data.test_labels is None:
        raise ValueError(f"{args.data} does not hold the labels of {args.dataset}")
    chosen = evenly(len(images), args.images)
    network = identity.train_classifier(load("mnist-dynamic", args.data), args.epochs)
    size, (decodes,) = figure.decompressions(as_pictures(images[chosen]), args.model, 1)
    shares = identity.compare(network, images[chosen], decodes // 255, data.test_labels[chosen])
    values = {"dataset": args.dataset, "model": args.model, "images": len(chosen)}
    write(args.out, recorder.result("identity", **values, bytes=size, **shares))


def _fields(args: argparse.Namespace, recorder: Recorder) -> None:
    from . import figure

    _, images = load_test(COLOUR, args.data)
    originals = images[evenly(len(images), args.images)]
    n = len(originals)
    models: list[dict[str, Any]] = []
    blocks, labels = [[originals]], ["original"]
    for named in [load_model(name) for name in args.models]:
        size, decodes = figure.decompressions(originals, named.name, args.decompressions)
        models.append({**_described(named), "bytes": size})
        blocks.append(decodes)
        labels.append(f"{models[-1]['window']}\n{size / n:.0f} bytes")
    picture = args.out / "fields.png"
    args.out.mkdir(parents=True, exist_ok=True)
    figure.labelled(blocks, labels, args.scale).save(picture, optimize=True)
    values = {"dataset": COLOUR, "images": n, "decompressions": args.decompressions}
    result = recorder.result("fields", **values, models=models, picture=picture.name)
    write(args.out / "fields.json", result)


def _colour(args: argparse.Namespace, recorder: Recorder) -> None:
    from . import colour, figure

    data, images = load_test(COLOUR, args.data)
    if data.test_labels is None:
        raise ValueError(f"{args.data} does not hold the labels of {COLOUR}")
    chosen = evenly(len(images), args.images)
    originals, labels = images[chosen], data.test_labels[chosen]
    rows: list[tuple[dict[str, Any], list[np.ndarray]]] = []
    for named in [load_model(name) for name in args.models]:
        size, decodes = figure.decompressions(originals, named.name, args.decompressions)
        rows.append(({**_described(named), "bytes": size}, decodes))
        print(f"{named.name}: decoded", file=sys.stderr, flush=True)
    references = {
        "block means": colour.without_texture(originals),
        "other image": np.roll(originals, -1, 0),
    }
    network = identity.train_classifier(data, args.epochs)
    values = {
        "dataset": COLOUR,
        "images": len(chosen),
        "decompressions": args.decompressions,
        "epochs": args.epochs,
        "models": [
            {**described, **colour.evaluate(network, originals, decodes, labels)}
            for described, decodes in rows
        ],
        "references": [
            {"reference": name, **colour.evaluate(network, originals, [pictures], labels)}
            for name, pictures in references.items()
        ],
    }
    write(args.out, recorder.result("colour", **values))


def _described(named: NamedModel) -> dict[str, Any]:
    """What a result says of a model whose likelihood is not its subject."""
    window = table.window(named.model.config.to_dict())
    return {"model": named.name, "sha256": named.sha256, "window": window}


def _baselines(args: argparse.Namespace, recorder: Recorder) -> None:
    data, images = load_test(args.dataset, args.data)
    recipe = replace(SET_RECIPES[args.preset], dataset=args.dataset)
    budget = Budget(args.minutes, args.steps)
    settings = {
        "dataset": args.dataset,
        "budget": str(budget),
        "images": len(evenly(len(images), args.images)),
        "samples": args.samples,
        "recipe": recipe.to_dict(),
    }
    asked: dict[str, Any] = json.loads(json.dumps(settings))  # as it will be read again
    finished: dict[str, Any] = {}
    if args.out.exists():
        before = json.loads(args.out.read_text())
        if any(before.get(key) != value for key, value in asked.items()):
            raise ValueError(f"{args.out} was made by other arguments: give another --out")
        finished = before["rows"]
    for name in args.rows or baselines.ROWS:
        if name in finished:
            continue
        row = Recorder(recorder.arguments)  # each has its own minutes

        def report(line: dict[str, float], name: str = name) -> None:
            print(f"{name}: {line}", file=sys.stderr, flush=True)

        trainer = baselines.train(name, recipe, data, args.runs / name, budget, report)
        values = baselines.evaluate(trainer, images, args.samples, args.images)
        finished[name] = row.result("baseline", about=baselines.ROWS[name].about, **values)
        ordered = {name: finished[name] for name in baselines.ROWS if name in finished}
        write(args.out, {"kind": "baselines", **asked, "rows": ordered})


def _flows(args: argparse.Namespace, recorder: Recorder) -> None:
    from . import flows

    data, images = load_test(args.dataset, args.data)
    named = load_model(args.model)
    rows = flows.compare(named.model, data.train, images, args.minutes)
    values = {"dataset": args.dataset, "model": args.model, "sha256": named.sha256}
    write(args.out, recorder.result("flows", **values, minutes_each=args.minutes, rows=rows))


def _table(args: argparse.Namespace, _recorder: Recorder) -> None:
    out: Path = args.out or args.results / "table.md"
    out.write_text(table.report(table.read_results(args.results)))


def as_pictures(images: np.ndarray) -> np.ndarray:
    """Images of 0 and 1 as archives take them, 0 and 255; colour as it is."""
    return images * np.uint8(255) if images.ndim == 3 else images


if __name__ == "__main__":
    sys.exit(main())
