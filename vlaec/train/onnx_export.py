"""A photo model's networks as ONNX graphs, whose weights stay in the model's safetensors file.

Every initializer is ONNX external data: an offset into `NAME.safetensors`, next to the graph, in
half precision, followed by a Cast to float32. So torch and the light runtime read the same weights,
and a graph takes a few kilobytes. Each network is cut into one graph for each resolution that it
works at: a large picture is computed some rows at a time (see `photo.strips`), and the rows around
them that a graph must see are then few. Only standard operators are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ..coding.gaussian import LATENT_BOUND
from ..networks.blocks import ResidualBlock
from ..networks.config import LATENT_INPUT_SCALE, STRIDE
from ..networks.photo import PhotoVLAE, Synthesis
from ..networks.texture import (
    INPUT_SCALE,
    LOG_SCALE_MAX,
    LOG_SCALE_MIN,
    LOG_SCALE_START,
    MEAN_BOUND,
)
from .preview import FACTOR, fit_preview

OPSET = 17
IR_VERSION = 8

Named = tuple[str, nn.Module]


def export_graphs(model: PhotoVLAE, weights: Path) -> dict[str, bytes]:
    """Graphs by name, for the model whose weights are in the file `weights`."""
    made = [*_analysis(model, weights), _known(model, weights), _draw(model, weights)]
    for name, network, ends in (
        ("mean", "synthesis", {"mean": "to_mean"}),
        ("texture", "texture_synthesis", {"detail": "to_detail", "features": "to_features"}),
    ):
        made += _synthesis(model, weights, name, network, ends)
    return {graph.name: graph.finish() for graph in made}


def write_graphs(model: PhotoVLAE, weights: Path) -> dict[str, str]:
    """Write the graphs next to `weights`, as NAME.GRAPH.onnx; returns their SHA-256 by name, as a
    model's card lists them."""
    return {
        name: _write(data, name, weights) for name, data in export_graphs(model, weights).items()
    }


def write_preview(model: PhotoVLAE, weights: Path) -> dict[str, str]:
    """Write the graph `preview`, which is fitted and holds its own weights; SHA-256 by name."""
    layer = fit_preview(model)
    assert layer.bias is not None
    graph = _Graph(model, weights, "preview", STRIDE)
    graph.halo = layer.kernel_size[0] // 2
    x = graph.node(
        "Conv",
        graph.input("x", layer.in_channels),
        graph.half(layer.weight.detach().numpy()),
        graph.half(layer.bias.detach().numpy()),
        kernel_shape=list(layer.kernel_size),
        pads=[graph.halo] * 4,
    )
    x = graph.node("DepthToSpace", x, blocksize=FACTOR, mode="CRD")
    graph.output("preview", graph.node("Add", x, graph.constant(0.5)))
    return {graph.name: _write(graph.finish(), graph.name, weights)}


def _write(data: bytes, name: str, weights: Path) -> str:
    """Write a graph next to the weights; returns its SHA-256."""
    weights.with_name(f"{weights.stem}.{name}.onnx").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _analysis(model: PhotoVLAE, weights: Path) -> Iterator[_Graph]:
    """From pixels [1, 3, 16 h, 16 w] in [0, 1] to latents before they are rounded."""
    stages: list[list[Named]] = []
    for name, part in _children("analysis", model.analysis):
        first = part[0] if isinstance(part, nn.Sequential) else part
        if isinstance(first, nn.PixelUnshuffle):
            stages.append([])
        stages[-1].append((name, part))
    for index, stage in enumerate(stages):
        stride = 4 << index
        graph = _Graph(model, weights, f"analysis-{stride}", stride)
        x = graph.input("x", 3 if index == 0 else None)
        if index == 0:
            x = graph.node("Sub", x, graph.constant(0.5))
        x = graph.chain(x, stage)
        if index == len(stages) - 1:
            x = graph.conv(x, "to_latent", model.to_latent)
            x = graph.node("Mul", x, graph.gain("log_gain"))
            bound = float(LATENT_BOUND)
            x = graph.node("Clip", x, graph.constant(-bound), graph.constant(bound))
        graph.output("y", x)
        yield graph


def _known(model: PhotoVLAE, weights: Path) -> _Graph:
    """From latents, and what the prior said of them, to what both synthesis networks start from:
    `PhotoVLAE.known`."""
    graph = _Graph(model, weights, "known", 16)
    channels = model.config.latent_channels
    z, mean, log_scale = (graph.input(n, channels) for n in ("z", "mean", "log_scale"))
    scale = graph.constant(LATENT_INPUT_SCALE)
    scaled = [graph.node("Mul", x, scale) for x in (z, mean)]
    stacked = graph.node("Concat", *scaled, log_scale, axis=1)
    correction = graph.chain(stacked, _children("residual_prediction", model.residual_prediction))
    correction = graph.node("Mul", graph.node("Tanh", correction), graph.constant(0.5))
    corrected = graph.node("Mul", graph.node("Add", z, correction), graph.gain("log_inverse_gain"))
    pictures, size = graph.node("Shape", z, end=1), graph.node("Shape", z, start=2)
    levels = graph.integers(model.config.levels)
    shape = graph.node("Concat", pictures, levels, size, axis=0)
    planes = graph.node("Expand", graph.level_planes(), shape)
    graph.output("known", graph.node("Concat", corrected, planes, axis=1))
    return graph


def _synthesis(
    model: PhotoVLAE, weights: Path, name: str, network: str, ends: dict[str, str]
) -> Iterator[_Graph]:
    """From `known` to pixels; `ends`: the last convolutions by what they make."""
    synthesis = getattr(model, network)
    assert isinstance(synthesis, Synthesis)
    stages: list[list[Named]] = [[]]
    for part_name, part in _children(f"{network}.trunk", synthesis.trunk):
        stages[-1].append((part_name, part))
        if isinstance(part, nn.Sequential) and isinstance(part[-1], nn.PixelShuffle):
            stages.append([])
    for index, stage in enumerate(stages):
        graph = _Graph(model, weights, f"{name}-{16 >> index}", 16 >> index)
        graph.output("x", graph.chain(graph.input("x", None), stage))
        yield graph
    graph = _Graph(model, weights, f"{name}-1", 4)
    x = graph.chain(graph.input("x", None), _children(f"{network}.full", synthesis.full))
    if name == "texture":
        x = graph.node("Relu", x)
    graph.halo = 1  # one pixel, so one cell
    for output, conv in ends.items():
        y = graph.conv(x, conv, getattr(model, conv), counted=False)
        if name == "mean":
            y = graph.node("Add", y, graph.constant(0.5))
        graph.output(output, y)
    yield graph


def _draw(model: PhotoVLAE, weights: Path) -> _Graph:
    """One step of the sampler: a sample of the PixelCNN's mixture for each of n pixels that do not
    see each other, see `networks.pixelcnn.sample_mixture`.

    From `inputs` [n, window + F], a window's values within their bound, by place and channel, and
    features; and `noise` [n, K + 3], times the temperature. To residuals [n, 3] on the [0, 1] scale
    of pixels.
    """
    graph, k = _Graph(model, weights, "draw", 1), model.config.mixtures
    window = graph.node("Mul", graph.matrix("pixelcnn.window"), graph.constant(INPUT_SCALE))
    biases = [graph.weight(f"pixelcnn.{part}.bias") for part in ("window", "condition")]
    weight = graph.node("Concat", window, graph.matrix("pixelcnn.condition"), axis=1)
    inputs, noise = graph.table("inputs"), graph.table("noise")
    x = graph.node("Gemm", inputs, weight, graph.node("Add", *biases), transB=1)
    for index in range(model.config.pixel_depth):
        layer = f"pixelcnn.layers.{index}"
        weight, bias = graph.matrix(layer), graph.weight(f"{layer}.bias")
        x = graph.node("Add", x, graph.node("Gemm", graph.node("Relu", x), weight, bias, transB=1))
    # Logits as they are; then for each component three means, in units of their bound, three
    # coefficients and three log scales.
    parts = (0, 1, 2, 6, 7, 8, 3, 4, 5)
    order = [*range(k), *(k + part * k + component for component in range(k) for part in parts)]
    factor, offset = np.ones((10 * k, 1)), np.zeros(10 * k)
    for start in range(k, 10 * k, 9):
        factor[start : start + 3] = 1 / MEAN_BOUND
        offset[start + 6 : start + 9] = LOG_SCALE_START
    weight, bias = (
        graph.node("Gather", values, graph.integers(*order), axis=0)
        for values in (graph.matrix("pixelcnn.head"), graph.weight("pixelcnn.head.bias"))
    )
    weight = graph.node("Mul", weight, graph.constant(factor))
    bias = graph.node("Mul", bias, graph.constant(factor[:, 0]))
    bias = graph.node("Add", bias, graph.constant(offset))
    out = graph.node("Gemm", graph.node("Relu", x), weight, bias, transB=1)
    logits, components = graph.split(out, k, 9 * k)
    gumbel, logistic = graph.split(noise, k, 3)
    choice = graph.node("ArgMax", graph.node("Add", logits, gumbel), axis=1, keepdims=1)
    components = graph.node("Reshape", components, graph.integers(0, k, 9))
    chosen = graph.node("GatherND", components, choice, batch_dims=1)
    squashed, log_scale = graph.split(chosen, 6, 3)
    bounds = graph.constant(LOG_SCALE_MIN), graph.constant(LOG_SCALE_MAX)
    scale = graph.node("Exp", graph.node("Clip", log_scale, *bounds))
    mean, on_red, on_both = graph.split(graph.node("Tanh", squashed), 3, 1, 2)
    mean = graph.node("Mul", mean, graph.constant(MEAN_BOUND / INPUT_SCALE))
    value = graph.node("Add", mean, graph.node("Mul", scale, logistic))
    red, green, blue = graph.split(value, 1, 1, 1)
    green = graph.node("Add", green, graph.node("Mul", on_red, red))
    both = graph.node("Concat", red, green, axis=1)
    given = graph.node("ReduceSum", graph.node("Mul", on_both, both), graph.integers(1))
    graph.result("residual", graph.node("Concat", both, graph.node("Add", blue, given), axis=1))
    return graph


def _children(name: str, network: nn.Sequential) -> list[Named]:
    return [(f"{name}.{key}", child) for key, child in network.named_children()]


class _Graph:
    """One graph in the making. `stride`: pixels on one side of a cell that its convolutions see;
    `halo`: how many of those cells around a cell its value depends on."""

    def __init__(self, model: PhotoVLAE, weights: Path, name: str, stride: int) -> None:
        self.model, self.name, self.stride, self.halo = model, name, stride, 0
        self._location = weights.name
        with weights.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self._entries: dict[str, Any] = json.loads(file.read(size))
        self._start = 8 + size
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._casts: dict[str, str] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns its name."""
        output = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def input(self, name: str, channels: int | None) -> str:
        """Declare an input [N, C, rows, columns] float32."""
        sizes = (channels or "channels", f"rows_{name}", f"columns_{name}")
        shape: list[str | int | None] = ["pictures", *sizes]
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def table(self, name: str) -> str:
        """Declare an input [n, C] float32."""
        shape: list[str | int | None] = ["n", f"channels_{name}"]
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return name

    def result(self, name: str, value: str) -> None:
        """Declare an output [n, C] float32."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        shape: list[str | int | None] = ["n", f"channels_{name}"]
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def split(self, x: str, *sizes: int) -> list[str]:
        """The columns of a table [n, C] in parts."""
        outputs = [f"split_{len(self._nodes)}_{index}" for index in range(len(sizes))]
        inputs = [x, self.integers(*sizes)]
        self._nodes.append(helper.make_node("Split", inputs, outputs, axis=1))
        return outputs

    def output(self, name: str, value: str) -> None:
        """Declare an output [N, C, rows, columns] float32."""
        name = f"{name}_out" if any(i.name == name for i in self._inputs) else name
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        sizes = (f"channels_{name}", f"rows_{name}", f"columns_{name}")
        shape: list[str | int | None] = ["pictures", *sizes]
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, value: float | np.ndarray) -> str:
        """A number, or several."""
        return self._stored(np.array(value, np.float32))

    def half(self, values: np.ndarray) -> str:
        """Weights that are kept in the graph, in half precision, as float32."""
        return self.node("Cast", self._stored(values.astype(np.float16)), to=TensorProto.FLOAT)

    def integers(self, *values: int) -> str:
        """A vector of integers."""
        return self._stored(np.array(values, np.int64))

    def weight(self, name: str) -> str:
        """A tensor of the model, as float32."""
        if name not in self._casts:
            entry = self._entries[name]
            begin, end = entry["data_offsets"]
            tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=entry["shape"])
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": self._location, "offset": self._start + begin}
            for key, value in {**place, "length": end - begin}.items():
                tensor.external_data.add(key=key, value=str(value))
            self._initializers[name] = tensor
            self._casts[name] = self.node("Cast", name, to=TensorProto.FLOAT)
        return self._casts[name]

    def matrix(self, name: str) -> str:
        """The weights [out, in] of a convolution of single pixels."""
        return self.node("Squeeze", self.weight(f"{name}.weight"), self.integers(2, 3))

    def level_planes(self) -> str:
        """The weights of the quality's levels [1, levels, 1, 1], from the input `levels`."""
        if not any(i.name == "levels" for i in self._inputs):
            shape = [1, self.model.config.levels]
            self._inputs.append(helper.make_tensor_value_info("levels", TensorProto.FLOAT, shape))
        return self.node("Unsqueeze", "levels", self.integers(2, 3))

    def gain(self, name: str) -> str:
        """exp of a table [levels, C] interpolated at `levels`: [1, C, 1, 1]."""
        self.level_planes()
        power = self.node("Exp", self.node("MatMul", "levels", self.weight(name)))
        return self.node("Unsqueeze", power, self.integers(2, 3))

    def chain(self, x: str, parts: list[Named]) -> str:
        """Networks in sequence."""
        factor = 1  # of a pixel-unshuffle whose channels are still in ONNX's order
        for name, part in parts:
            match part:
                case nn.Sequential():
                    x = self.chain(x, _children(name, part))
                case ResidualBlock():
                    inner = self.conv(x, f"{name}.first", part.first)
                    inner = self.conv(self.node("Relu", inner), f"{name}.second", part.second)
                    x = self.node("Add", x, inner)
                case nn.Conv2d():
                    x = self.conv(x, name, part, factor)
                    factor = 1
                case nn.ReLU():
                    x = self.node("Relu", x)
                case nn.PixelShuffle():
                    x = self.node("DepthToSpace", x, blocksize=part.upscale_factor, mode="CRD")
                case nn.PixelUnshuffle():
                    factor = part.downscale_factor
                    x = self.node("SpaceToDepth", x, blocksize=factor)
                case _:
                    raise TypeError(f"no graph of {type(part).__name__}")
        return x

    def conv(
        self, x: str, name: str, conv: nn.Conv2d, unshuffled: int = 1, counted: bool = True
    ) -> str:
        """A convolution with zeros around the picture.

        Args:
            unshuffled: factor of the pixel-unshuffle before it. ONNX's orders channels the other
                way round, which the weights are told rather than the picture.
            counted: whether its kernel adds to the halo.
        """
        weight = self.weight(f"{name}.weight")
        if unshuffled > 1:
            order = np.arange(conv.in_channels).reshape(-1, unshuffled**2).T.ravel()
            weight = self.node("Gather", weight, self.integers(*order.tolist()), axis=1)
        margin = conv.kernel_size[0] // 2
        self.halo += margin * counted
        return self.node(
            "Conv", x, weight, self.weight(f"{name}.bias"),
            kernel_shape=list(conv.kernel_size), pads=[margin] * 4,
        )  # fmt: skip

    def finish(self) -> bytes:
        """The graph as a file."""
        graph = helper.make_graph(
            self._nodes,
            self.name,
            self._inputs,
            self._outputs,
            list(self._initializers.values()),
        )
        model = helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="vlaec",
        )
        helper.set_model_props(model, {"stride": str(self.stride), "halo": str(self.halo)})
        return bytes(model.SerializeToString(deterministic=True))

    def _stored(self, value: np.ndarray) -> str:
        name = f"constant_{len(self._initializers)}"
        self._initializers[name] = numpy_helper.from_array(value, name)
        return name
