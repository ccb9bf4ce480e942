"""Writes the models of onnx/ that the TorchScript exporter makes, with batch norm folded into convolutions or kept, as it stands below.

    apt-get install python3-torch python3-numpy     (Debian 12: PyTorch 1.13)
    /usr/bin/python3 -B test/models/make_onnx.py

The same PyTorch writes the same bytes again.
"""

import warnings

import torch
from torch.onnx import TrainingMode

import networks
from files import HERE

OUT = HERE / "onnx"


def export(name, build, opset, seed, *, keep_norms=False, fold=True, dynamic=True, gain=2, **options):
    """`dynamic`: any number of images, otherwise one; `fold`: constants are computed by the exporter."""
    network, images, logits = networks.prepared(build, seed, gain)
    for part in network.modules():
        # Without this the exporter leaves dropout out; up to opset 11 the node does nothing when the file runs.
        if isinstance(part, torch.nn.modules.dropout._DropoutNd) and keep_norms and opset <= 11:
            part.train()
    axes = {"input": {0: "batch"}, "output": {0: "batch"}} if dynamic else None
    torch.onnx.export(
        network,
        images[: 2 if dynamic else 1],
        OUT / f"{name}.onnx",
        opset_version=opset,
        training=TrainingMode.PRESERVE if keep_norms else TrainingMode.EVAL,
        do_constant_folding=fold,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
        **options,
    )
    size = (OUT / f"{name}.onnx").stat().st_size
    print(f"{name}: opset {opset}, {size} bytes, spread between images {logits.std(0).mean():.2f}, largest {logits.abs().max():.1f}")


def main():
    warnings.filterwarnings("ignore")
    OUT.mkdir(exist_ok=True)
    export("lenet", networks.lenet, 9, 1, dynamic=False)
    export("vgg-elu", networks.VggElu, 11, 2, keep_norms=True, fold=False)
    export("resnet8", networks.resnet8, 13, 3, keep_norms=True)
    export("resnet18", networks.resnet18, 12, 4, dynamic=False)
    export("resnet8-mean", lambda: networks.resnet8("mean"), 17, 5, fold=False, keep_initializers_as_inputs=True)
    export("resnet-plain-shortcuts", networks.PlainResNet, 13, 15)
    export("preact-resnet18", networks.preact_resnet18, 14, 6, keep_norms=True)
    export("wide-resnet16", networks.wide_resnet16, 15, 7)
    export("mobilenetv2-clip-attributes", networks.MobileNetV2, 10, 8)
    export("mobilenetv2", networks.MobileNetV2, 13, 8, keep_norms=True, fold=False)
    export("densenet", networks.densenet, 16, 9)
    export("shufflenet", networks.shufflenet, 11, 10)
    export("shufflenet-fixed", networks.shufflenet, 17, 10, keep_norms=True, dynamic=False, fold=False)
    export("shufflenetv2", networks.shufflenetv2, 17, 14, keep_norms=True)
    export("shufflenetv2-11", networks.shufflenetv2, 11, 14)
    export("activations", networks.activations, 14, 11, gain=8)
    export("activations-9", networks.activations, 9, 11, dynamic=False, gain=8)
    export("windows", networks.windows, 11, 12)
    export("windows-16", networks.windows, 16, 12, keep_norms=True, dynamic=False)
    export("normalised", networks.Normalised, 11, 13, keep_norms=True)
    export("normalised-17", networks.Normalised, 17, 13, fold=False)


main()
