"""Writes the models of onnx/ that PyTorch 2's exporter makes (torch.onnx.export with dynamo=True), one with its weights outside.

    pip install torch onnx onnxscript         (made with Python 3.11, PyTorch 2.13.0, onnx 1.23.1, onnxscript 0.7.2)
    python3 -B test/models/make_dynamo.py

The same versions write the same bytes again.
"""

import torch
from torch import nn

import networks
from files import HERE

OUT = HERE / "onnx"


class Attention(nn.Module):
    """Operators that no image classifier of convolutions has."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=4)
        self.classifier = nn.Linear(8, 10)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        x = torch.matmul(torch.softmax(torch.matmul(x, x.transpose(1, 2)), -1), x)
        return self.classifier(torch.sin(x.mean(1)))


def export(name, build, opset, seed, external=False, gain=2):
    network, images, logits = networks.prepared(build, seed, gain)
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        network,
        (images[:2],),
        OUT / f"{name}.onnx",
        dynamo=True,
        external_data=external,
        opset_version=opset,
        input_names=["input"],
        output_names=["output"],
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    strip(OUT / f"{name}.onnx")
    print(f"{name}: opset {opset}, {(OUT / f'{name}.onnx').stat().st_size} bytes, {logits.std(0).mean():.2f}")


def strip(path):
    """Takes away what the exporter says about the source code: it names paths of the machine that it ran on."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info, model.graph):
        del part.metadata_props[:]
    path.write_bytes(model.SerializeToString())


def main():
    export("dynamo-resnet8", networks.resnet8, 18, 21, external=True)
    export("dynamo-mobilenetv2", networks.MobileNetV2, 20, 22)
    export("dynamo-vgg-elu", networks.VggElu, 21, 23)
    export("dynamo-shufflenetv2", networks.shufflenetv2, 19, 26)
    export("dynamo-activations", lambda: networks.activations(nn.GELU(approximate="tanh")), 20, 25, gain=8)
    export("dynamo-unsupported", Attention, 18, 24)


main()
