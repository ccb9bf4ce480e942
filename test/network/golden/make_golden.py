"""Writes the golden networks that test/network/golden.test.ts compares with: what PyTorch computes at every node.

    apt-get install python3-torch python3-numpy     (Debian 12: PyTorch 1.13)
    /usr/bin/python3 test/network/golden/make_golden.py

For each network it writes, next to itself, NAME.json (the network) and NAME.safetensors: the weights under the names that
the network gives them, and `activation/NODE` for every node. Each layer is run by PyTorch in NCHW and written down in
the project's terms: activations NHWC, convolution kernels HWIO (from OIHW), dense kernels [C,units] (from [units,C]).
The files are small random networks; nothing in them is trained. Running it again gives the same bytes on the same PyTorch.
"""

import json
import struct
from pathlib import Path

import torch
import torch.nn.functional as F

HERE = Path(__file__).parent


class Golden:
    """Builds a network layer by layer: each method runs one layer in PyTorch and records it; it returns the node's name."""

    def __init__(self, seed, height, width, channels):
        torch.manual_seed(seed)
        self.input = {"height": height, "width": width, "channels": channels}
        self.layers, self.weights = [], {}
        self.values = {"images": torch.rand(2, channels, height, width)}

    def record(self, type, name, inputs, value, **fields):
        self.layers.append({"type": type, "name": name, "inputs": inputs, **fields})
        self.values[name] = value
        return name

    def normalize(self, name, x, mean, std):
        column = lambda values: torch.tensor(values).view(1, -1, 1, 1)
        value = (self.values[x] - column(mean)) / column(std)
        return self.record("normalize", name, [x], value, mean=mean, std=std)

    def conv(self, name, x, filters, kernel, stride=(1, 1), dilation=(1, 1), groups=1, padding="valid", bias=True):
        """`padding`: "valid", "same" (stride 1 only, as in PyTorch) or (top, bottom, left, right)."""
        images = self.values[x]
        weight = torch.randn(filters, images.shape[1] // groups, *kernel)
        weight /= (weight[0].numel()) ** 0.5
        offset = 0.5 * torch.randn(filters) if bias else None
        sides = padding
        if isinstance(padding, tuple):
            top, bottom, left, right = padding
            images = F.pad(images, (left, right, top, bottom))
            sides = {"top": top, "bottom": bottom, "left": left, "right": right}
        how = "same" if padding == "same" else 0
        value = F.conv2d(images, weight, offset, stride, how, dilation, groups)
        self.weights[f"{name}/kernel"] = weight.permute(2, 3, 1, 0)
        if bias:
            self.weights[f"{name}/bias"] = offset
        return self.record("conv2d", name, [x], value, filters=filters, kernelSize=kernel, strides=stride,
                           dilations=dilation, groups=groups, padding=sides, bias=bias)

    def batch_norm(self, name, x, epsilon=1e-5):
        channels = self.values[x].shape[1]
        norm = {
            "gamma": 0.5 + torch.rand(channels), "beta": torch.randn(channels),
            "mean": torch.randn(channels), "variance": 0.5 + torch.rand(channels),
        }
        value = F.batch_norm(self.values[x], norm["mean"], norm["variance"], norm["gamma"], norm["beta"], eps=epsilon)
        self.weights.update({f"{name}/{suffix}": tensor for suffix, tensor in norm.items()})
        return self.record("batchNorm", name, [x], value, epsilon=epsilon)

    def dense(self, name, x, units):
        features = self.values[x]
        weight = torch.randn(units, features.shape[1]) / features.shape[1] ** 0.5
        offset = torch.randn(units)
        self.weights.update({f"{name}/kernel": weight.t(), f"{name}/bias": offset})
        return self.record("dense", name, [x], F.linear(features, weight, offset), units=units, bias=True)

    def add(self, name, *inputs):
        return self.record("add", name, list(inputs), sum(self.values[x] for x in inputs))

    def concat(self, name, *inputs):
        return self.record("concat", name, list(inputs), torch.cat([self.values[x] for x in inputs], 1))

    def pad(self, name, x, top, bottom, left, right):
        value = F.pad(self.values[x], (left, right, top, bottom))
        sides = {"top": top, "bottom": bottom, "left": left, "right": right}
        return self.record("pad", name, [x], value, padding=sides)

    def pool(self, type, name, x, size, stride, border):
        """`border` (rows, columns) of padding on both sides; padding never wins a maximum nor counts in an average."""
        if type == "maxPool":
            value = F.max_pool2d(self.values[x], size, stride, border)
        else:
            value = F.avg_pool2d(self.values[x], size, stride, border, count_include_pad=False)
        rows, columns = border
        sides = {"top": rows, "bottom": rows, "left": columns, "right": columns} if any(border) else "valid"
        return self.record(type, name, [x], value, poolSize=size, strides=stride, padding=sides)

    def global_pool(self, type, name, x):
        images = self.values[x]
        return self.record(type, name, [x], images.mean((2, 3)) if type == "globalAveragePool" else images.amax((2, 3)))

    def flatten(self, name, x):
        return self.record("flatten", name, [x], nhwc(self.values[x]).flatten(1))

    def reshape(self, name, x, shape):
        value = nhwc(self.values[x]).reshape(-1, *shape).permute(0, 3, 1, 2)
        return self.record("reshape", name, [x], value, shape=shape)

    def activation(self, type, name, x):
        functions = {
            "relu": F.relu, "relu6": F.relu6, "elu": F.elu, "selu": F.selu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
            "swish": F.silu, "hardSwish": F.hardswish, "gelu": F.gelu,
            "geluTanh": lambda value: F.gelu(value, approximate="tanh"),
            "softmax": lambda value: F.softmax(value, 1),
        }
        return self.record(type, name, [x], functions[type](self.values[x]))

    def leaky_relu(self, name, x, alpha):
        return self.record("leakyRelu", name, [x], F.leaky_relu(self.values[x], alpha), alpha=alpha)

    def write(self, name, output):
        labels = [f"label {index}" for index in range(self.values[output].shape[1])]
        network = {"schemaVersion": 1, "input": self.input, "labelNames": labels, "layers": self.layers, "output": output}
        (HERE / f"{name}.json").write_text(json.dumps(network, indent=1) + "\n")
        activations = {f"activation/{node}": nhwc(value) for node, value in self.values.items()}
        (HERE / f"{name}.safetensors").write_bytes(safetensors({**self.weights, **activations}))


def nhwc(value):
    return value.permute(0, 2, 3, 1) if value.dim() == 4 else value


def safetensors(tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        part = tensor.contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def residual():
    """A residual network: a strided stem with uneven padding, two blocks, pre-activation, both global pools."""
    g = Golden(1, 11, 9, 3)
    x = g.normalize("scale", "images", [0.5, 0.4, 0.3], [0.2, 0.25, 0.3])
    x = g.conv("stem/conv", x, 6, (5, 3), (2, 1), padding=(1, 3, 0, 2), bias=False)
    x = g.activation("relu", "stem/relu", g.batch_norm("stem/norm", x))
    x = stem = g.pool("maxPool", "stem/pool", x, (3, 3), (1, 2), (1, 1))
    x = g.batch_norm("one/norm1", g.conv("one/conv1", x, 6, (3, 3), padding=(1, 1, 1, 1), bias=False))
    x = g.conv("one/conv2", g.activation("relu", "one/relu1", x), 6, (3, 3), padding="same", bias=False)
    x = g.activation("relu6", "one/relu2", g.add("one/add", g.batch_norm("one/norm2", x, 1e-3), stem))
    before = x
    x = g.leaky_relu("two/relu1", g.batch_norm("two/norm1", x), 0.1)
    x = g.conv("two/conv1", x, 8, (3, 3), (2, 2), padding=(1, 1, 1, 1))
    x = g.conv("two/conv2", g.activation("elu", "two/elu", x), 8, (2, 2), padding="same")
    x = g.add("two/add", x, g.conv("two/short", before, 8, (1, 1), (2, 2)))
    x = g.conv("two/dilated", x, 8, (3, 2), dilation=(2, 2), padding=(2, 2, 1, 1))
    ends = [g.global_pool("globalAveragePool", "average", x), g.global_pool("globalMaxPool", "maximum", x)]
    x = g.activation("softmax", "scores", g.dense("logits", g.concat("both", *ends), 5))
    g.write("residual", "logits")


def mobile():
    """Depthwise and grouped convolutions, the smooth activations, padded averages, concatenation, flatten and reshape."""
    g = Golden(2, 8, 10, 4)
    x = g.conv("expand", "images", 8, (1, 1))
    x = g.conv("depthwise", g.activation("swish", "swish", x), 8, (3, 3), (2, 2), groups=8, padding=(0, 1, 0, 1))
    x = g.batch_norm("norm", g.conv("project", g.activation("hardSwish", "hardSwish", x), 6, (1, 1), bias=False))
    left = g.activation("gelu", "gelu", g.conv("grouped", x, 4, (3, 3), groups=2, padding=(1, 1, 1, 1)))
    right = g.activation("geluTanh", "geluTanh", g.conv("wide", x, 12, (3, 1), groups=6, padding=(1, 1, 0, 0)))
    x = g.concat("branches", left, right, x)
    x = g.pool("averagePool", "padded", x, (3, 2), (2, 1), (1, 1))
    x = g.pool("averagePool", "average", g.pad("pad", x, 1, 0, 0, 2), (2, 2), (1, 1), (0, 0))
    x = g.activation("selu", "selu", g.conv("narrow", x, 3, (2, 3), padding=(0, 0, 0, 0)))
    x = g.flatten("vector", x)
    x = g.activation("tanh", "tanh", g.dense("hidden", x, 24))
    x = g.conv("last", g.reshape("back", x, [2, 3, 4]), 6, (2, 3))
    x = g.activation("sigmoid", "sigmoid", g.flatten("end", x))
    g.write("mobile", g.dense("logits", x, 4))


residual()
mobile()
