"""The graphs on ONNX Runtime against torch, in pieces against whole, in threads, after a fork."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vlaec
from vlaec import zoo
from vlaec.images import Picture
from vlaec.networks import PhotoVLAE
from vlaec.networks.config import STRIDE
from vlaec.photo import codec, container, strips
from vlaec.photo.codec import Pixels
from vlaec.photo.strips import Held, Rows

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


@pytest.fixture(autouse=True)
def golden_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small trained model that the golden files are made with, as the default."""
    monkeypatch.setenv("VLAEC_MODELS", str(GOLDEN / "models"))


@pytest.fixture
def network() -> PhotoVLAE:
    return zoo.load(zoo.find())


def whole(rows: Rows) -> list[torch.Tensor]:
    return [torch.from_numpy(plane) for plane in rows.rows(0, rows.height)]


def latents(own: codec.Codec, height: int, width: int) -> Held:
    """Latents, means and log scales that a picture might have."""
    rng = np.random.default_rng(height * width)
    shape = (1, own.config.latent_channels, height, width)
    z = np.rint(rng.normal(0, 3, shape))
    return Held(STRIDE, z, z + rng.normal(0, 0.3, shape), rng.normal(0, 1, shape))


@pytest.mark.parametrize("size", [(16, 16), (48, 80), (200, 333)])
def test_analysis_is_torchs(network: PhotoVLAE, size: tuple[int, int]) -> None:
    own = codec.Codec(zoo.find())
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels, weights = Pixels(rgb), own.exact.level_weights(3700)
    (x,) = whole(pixels)
    assert torch.equal(x[0, :, : size[0], : size[1]].permute(1, 2, 0), torch.tensor(rgb) / 255)
    (y,) = whole(own.graphs.latents(pixels, weights))
    with torch.inference_mode():
        expected = network.encode(x, torch.from_numpy(weights).float()[None])
    torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (13, 21)])
def test_synthesis_is_torchs(network: PhotoVLAE, size: tuple[int, int]) -> None:
    own = codec.Codec(zoo.find())
    given, weights = latents(own, *size), own.exact.level_weights(8123)
    known = own.graphs.known(given, weights)
    mean, texture = own.graphs.mean(known), own.graphs.texture(known)
    assert (mean.height, mean.width) == (STRIDE * size[0], STRIDE * size[1])
    levels = torch.from_numpy(weights).float()[None]
    with torch.inference_mode():
        expected = network.decode(*whole(given), levels)
    for made, wanted in zip([*whole(mean), *whole(texture)], expected, strict=True):
        torch.testing.assert_close(made, wanted, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("size", "columns"), [((70, 20), 4096), ((20, 70), 16), ((33, 47), 12)])
def test_pieces_make_the_same_picture(
    size: tuple[int, int], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and columns at a time, with any number of rows asked for."""
    own = codec.Codec(zoo.find())
    given, weights = latents(own, *size), own.exact.level_weights(5000)
    rgb = np.random.default_rng(1).integers(0, 256, (STRIDE * size[0], 500, 3), np.uint8)

    def make(step: int) -> list[np.ndarray]:
        known = own.graphs.known(given, weights)
        rows = [own.graphs.mean(known), own.graphs.texture(known)]
        parts = [[*rows[0].rows(t, t + step), *rows[1].rows(t, t + step)]
                 for t in range(0, rows[0].height, step)]  # fmt: skip
        y = own.graphs.latents(Pixels(rgb), weights)
        return [*(np.concatenate(p, 2) for p in zip(*parts, strict=True)), *y.rows(0, y.height)]

    expected = make(STRIDE * size[0])
    monkeypatch.setattr(strips, "STRIP_BYTES", 2**12)
    monkeypatch.setattr(strips, "COLUMNS", columns)
    for a, b in zip(make(16), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_strips_are_made_once_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and what is computed twice is what pieces have in common: also where
    the rows that two strips depend on end one strip of the graph before them and begin another."""
    monkeypatch.setattr(strips, "STRIP_BYTES", 2**8)
    made: dict[int, list[int]] = {0: [], 1: []}
    source = Held(4, np.arange(400.0).reshape(1, 1, 100, 4))
    rows: strips.Rows = source
    for number, counts in made.items():

        def compute(planes: strips.Planes, counts: list[int] = counts) -> strips.Planes:
            counts.append(planes[0].shape[2])
            return planes

        rows = strips.Strips(rows, compute, cell=4, halo=2 + number, stride=4, cell_bytes=8)
    for top in range(0, 100, 4):
        (plane,) = rows.rows(top, top + 4)
        assert np.array_equal(plane, source.rows(top, top + 4)[0])
        assert isinstance(rows, strips.Strips) and len(rows._kept) == 1
    for number, counts in made.items():
        assert len(counts) == -(-100 // 8) and max(counts) == 8 + 2 * (2 + number)


def test_threads_do_not_matter(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Image.open(photo) as image:
        pixels = np.asarray(image.convert("RGB"))[:200, :300]
    files, pictures = [], []
    for count in ("1", "2"):
        monkeypatch.setenv("VLAEC_THREADS", count)
        own = codec.Codec(zoo.find())
        files.append(own.encode(Picture(pixels), 40))
        pictures.append(own.decode(container.unpack(files[0])).rgb)
    assert files[0] == files[1]
    assert (pictures[0] != pictures[1]).mean() < 1e-3


def test_one_codec_serves_several_threads(photo: Path) -> None:
    with Image.open(photo) as image:
        crops = [image.convert("RGB").crop((x, 0, x + 90, 70)) for x in range(0, 240, 60)]
    alone = [vlaec.compress(crop, quality=40) for crop in crops]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda crop: vlaec.compress(crop, quality=40), crops)) == alone


def _compress(image: Image.Image, queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(vlaec.compress(image, quality=40))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_works(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLAEC_THREADS", "2")
    with Image.open(photo) as image:
        crop = image.convert("RGB").crop((0, 0, 200, 300))
    data = vlaec.compress(crop, quality=40)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_compress, args=(crop, queue))
    child.start()
    assert queue.get(timeout=60) == data
    child.join(20)
    assert child.exitcode == 0


def test_no_torch_is_needed(photo: Path) -> None:
    """Nor anything else that only training and the bench use."""
    code = """
import sys
for name in ("torch", "scipy", "onnx", "matplotlib"):
    sys.modules[name] = None
import json, pathlib, vlaec
from vlaec.errors import UsageError
golden = pathlib.Path(sys.argv[1])
sizes = [vlaec.decompress(p.read_bytes()).size for p in sorted(golden.glob("*.vlae"))]
data = vlaec.compress(sys.argv[2], quality=30)
try:
    vlaec.compress(sys.argv[2], effort=1)
except UsageError as error:
    print(json.dumps([sizes, vlaec.info(data).header.quality, str(error)]))
"""
    out = subprocess.run(
        [sys.executable, "-c", code, str(GOLDEN), str(photo)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    sizes, quality, error = json.loads(out.stdout)
    assert [1, 1] in sizes and [128, 128] in sizes and quality == 30
    assert error == "--effort needs torch: pip install 'vlaec[torch]'"


def test_graphs_hold_no_weights_and_name_their_operators() -> None:
    """Another program needs the standard operators of one opset and the weights file."""
    onnx = pytest.importorskip("onnx")
    allowed = {
        "Add", "ArgMax", "Cast", "Clip", "Concat", "Conv", "DepthToSpace", "Exp", "Expand",
        "Gather", "GatherND", "Gemm", "Identity", "MatMul", "Mul", "ReduceSum", "Relu", "Reshape",
        "Shape", "SpaceToDepth", "Split", "Squeeze", "Sub", "Tanh", "Unsqueeze",
    }  # fmt: skip
    card = zoo.find()
    for name in card.graphs:
        path = card.path.with_name(f"{card.name}.{name}.onnx")
        assert path.stat().st_size < 10_000
        graph = onnx.load(path, load_external_data=False)
        assert graph.ir_version == 8 and [o.version for o in graph.opset_import] == [17]
        assert {node.op_type for node in graph.graph.node} <= allowed
        onnx.checker.check_model(str(path), full_check=True)
