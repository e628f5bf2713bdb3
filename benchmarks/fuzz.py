"""Fuzzing of everything that reads files of strangers: `python -m benchmarks.fuzz TARGET`.

    python -m benchmarks.fuzz photo-container --runs 10000000 --into fuzz.json
    python -m benchmarks.fuzz images --seconds 3600 --engine atheris
    python -m benchmarks.fuzz all --seconds 60
    python -m benchmarks.fuzz damage

Targets are the two containers, the two decoders with all checksums repaired after mutation, the
reader of pictures and that of arrays. An execution may end in a result or a `VlaecError`; any other
exception, or more than `LIMIT_S` seconds, stops the run, and the input is written to the current
folder. The engine `random` needs nothing, and repairs the checksums of half of the containers'
inputs; `atheris` (pip install atheris) is guided by coverage. `damage` flips every bit of the
golden files and cuts them at every byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.mutations import TESTS, mutated, repaired, seeds
from vlaec import files, images, zoo
from vlaec.errors import BadFileError, VlaecError
from vlaec.images import ReadOptions
from vlaec.photo import container
from vlaec.sets import container as archive_container
from vlaec.sets import images as image_sets

LIMIT_S = 20.0
MAX_PIXELS = 2**14  # of pictures that are decoded

Target = Callable[[bytes], object]


def parse_photo(data: bytes) -> None:
    """The container of pictures, as every command reads it."""
    with_errors(container.info, data)
    with_errors(container.salvage, data)
    container.pack(container.unpack(data))


def parse_archive(data: bytes) -> None:
    """The container of archives."""
    with_errors(archive_container.info, data)
    with_errors(archive_container.salvage, data)
    archive_container.pack(archive_container.unpack(data))


def decode_photo(data: bytes) -> None:
    """A picture, whatever its stack says: its checksum is made right before the networks."""
    from vlaec.photo import codec

    parts = container.unpack(repaired(data, 30))
    header = parts.header
    if header.width * header.height > MAX_PIXELS:
        return
    own = codec.load_codec(_card("tests/golden/models").id)
    shape = codec.latent_shape(header.height, header.width)
    words, bits_back = parts.stack.words, parts.stack.bits_back
    quality, first = header.quality_hundredths, header.first_versions
    z, _ = own.coder.decode(words, bits_back, shape, quality, first)
    right = replace(header, z_crc=header.checksum(codec.latent_bytes(z)))
    own.decode(replace(parts, header=right))


def decode_archive(data: bytes) -> None:
    """An archive of small images."""
    from vlaec.sets import archive

    parts = archive_container.unpack(repaired(data, 30))
    if parts.header.values <= MAX_PIXELS:
        name = "tiny-colour" if parts.header.colour else "tiny-binary"
        archive.load_archiver(_card("tests/golden_sets/models", name).id).extract(parts)


def read_image(data: bytes) -> None:
    """A picture file, through every way of reading it."""
    picture = images.read(data, ReadOptions(max_pixels=2**20))
    options = ReadOptions(
        max_pixels=2**20, frame=0, tone_map=True, upright=True, strip=frozenset({"gps", "icc"})
    )
    with_errors(lambda content: images.read(content, options), data)
    images.encode(picture, ("png", "tiff", "webp", "jpeg")[len(data) % 4], _ON_BLACK)


def read_array(data: bytes) -> None:
    """An .npz file."""
    image_sets.read_array(data, "array")


_ON_BLACK = images.WriteOptions(background=(0, 0, 0))

TARGETS: dict[str, Target] = {
    "photo-container": parse_photo,
    "archive-container": parse_archive,
    "photo-decoder": decode_photo,
    "archive-decoder": decode_archive,
    "images": read_image,
    "arrays": read_array,
}


def with_errors(function: Callable[[bytes], object], data: bytes) -> None:
    """Call it, and let errors of the documented kind pass."""
    try:
        function(data)
    except VlaecError:
        return


def execute(target: Target, data: bytes) -> bool:
    """Whether the input was taken. Raises what the target must not raise."""
    try:
        target(data)
        return True
    except VlaecError as error:
        if "\n" in str(error):
            raise AssertionError("an error of several lines") from error
        return False


@contextmanager
def watched(done: list[int]) -> Iterator[None]:
    """Raise AssertionError within where `done` stays as it is for `LIMIT_S` seconds.

    Seconds of the processor: a loaded machine is no hang.
    """
    seen = [-1]

    def look(signal_number: int, frame: object) -> None:
        if done == seen:
            raise AssertionError(f"more than {LIMIT_S} s")
        seen[:] = done

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def damage(bits: Sequence[int] = range(8)) -> dict[str, int]:
    """Flip bits of every byte of the golden files, and cut those of the newest version everywhere.

    Returns how many there were, and how many a container's checksums and end mark found.
    """
    counts = {"flips": 0, "flips_found": 0, "cuts": 0, "cuts_found": 0}

    def try_one(kind: str, parse: Target, data: bytes) -> None:
        counts[kind] += 1
        try:
            parse(data)
        except BadFileError:
            counts[f"{kind}_found"] += 1

    for data in [*seeds("photo"), *seeds("archive")]:
        parse: Target = container.unpack if data[:4] == b"VLAE" else archive_container.unpack
        for position in range(len(data)):
            for bit in bits:
                damaged = bytearray(data)
                damaged[position] ^= 1 << bit
                try_one("flips", parse, bytes(damaged))
        for length in range(len(data) if data[4] > 1 else 0):
            try_one("cuts", parse, data[:length])
    return counts


def run_random(
    name: str,
    runs: int | None,
    seconds: float | None,
    seed: int = 0,
    tell: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Mutations without guidance; the counts. Raises what a target must not raise.

    tell: given the counts so far, a few times a minute.
    """
    target, corpus, rng = TARGETS[name], seeds(name), random.Random(seed)
    repairs = name.endswith("container")
    start = told = time.perf_counter()
    done, taken, slowest = [0], 0, 0.0

    def result() -> dict[str, Any]:
        return {
            "target": name,
            "engine": "random",
            "seed": seed,
            "runs": done[0],
            "accepted": taken,
            "seconds": round(time.perf_counter() - start, 1),
            "slowest_s": round(slowest, 3),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }

    with watched(done):
        begun = start
        while (runs is None or done[0] < runs) and (seconds is None or begun - start < seconds):
            data = mutated(corpus[int(rng.random() * len(corpus))], rng, corpus)
            if repairs and rng.random() < 0.5:
                data = repaired(data, 30)
            begun, worked = time.perf_counter(), time.process_time()
            try:
                taken += execute(target, data)
            except BaseException:
                Path(f"crash-{name}-{zlib.crc32(data):08x}").write_bytes(data)
                raise
            slowest = max(slowest, time.process_time() - worked)
            done[0] += 1
            if begun - told > 10:
                told = begun
                tell(result())
    return result()


def run_atheris(name: str, runs: int | None, seconds: float | None) -> dict[str, Any]:
    """Guided by coverage, in a process of its own: libFuzzer ends the one it runs in."""
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(seeds(name)):
            (Path(folder) / str(number)).write_bytes(data)
        options = [f"-timeout={LIMIT_S:.0f}", "-rss_limit_mb=3000", "-print_final_stats=1"]
        options += [f"-runs={runs}"] if runs else []
        options += [f"-max_total_time={seconds:.0f}"] if seconds else []
        call = [sys.executable, "-c", _GUIDED, name, folder, *options]
        start = time.perf_counter()
        done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr[-6000:])
        raise SystemExit(f"{name}: atheris stopped")
    stats = dict(
        line.removeprefix("stat::").split(":")
        for line in done.stderr.splitlines()
        if line.startswith("stat::")
    )
    return {
        "target": name,
        "engine": "atheris",
        "runs": int(stats["number_of_executed_units"]),
        "seconds": round(time.perf_counter() - start, 1),
        "slowest_s": int(stats["slowest_unit_time_sec"]),
        "peak_mib": int(stats["peak_rss_mb"]),
        "new_inputs": int(stats["new_units_added"]),
    }


def guided(name: str, arguments: list[str]) -> None:
    """Work of the process that `run_atheris` starts."""
    import atheris

    atheris.Setup([sys.argv[0], *arguments], lambda data: execute(TARGETS[name], data) and None)
    atheris.Fuzz()


_GUIDED = """
import sys, atheris
with atheris.instrument_imports(include=["vlaec"]):
    from benchmarks import fuzz
fuzz.guided(sys.argv[1], sys.argv[2:])
"""


@lru_cache
def _card(folder: str, name: str | None = None) -> zoo.Card:
    os.environ["VLAEC_MODELS"] = str(TESTS.parent / folder)
    return zoo.find(name=name)


def main(arguments: Sequence[str]) -> None:
    """Fuzz one target, or each of them in turn, and print what was run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=[*TARGETS, "all", "damage"])
    parser.add_argument("--runs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--engine", choices=["random", "atheris"], default="random")
    parser.add_argument("--seed", type=int, default=0, help="of the random engine")
    parser.add_argument("--into", type=Path, help="results by target, kept up to date")
    options = parser.parse_args(arguments)
    if options.target == "damage":
        print(damage())
        return

    def tell(result: dict[str, Any]) -> None:
        if options.into:
            old = json.loads(options.into.read_text()) if options.into.exists() else {}
            new = json.dumps({**old, result["target"]: result}, indent=1) + "\n"
            files.write_atomically(str(options.into), new.encode(), force=True)

    for name in TARGETS if options.target == "all" else [options.target]:
        if options.engine == "atheris":
            result = run_atheris(name, options.runs, options.seconds)
        else:
            result = run_random(name, options.runs, options.seconds, options.seed, tell)
        tell(result)
        print(result, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
