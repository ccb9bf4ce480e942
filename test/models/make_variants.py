"""Writes the models of onnx/ that no exporter here makes: rewritten ones, and ones of the shape that tf2onnx gives to Keras models.

    pip install onnx onnxruntime h5py         (made with Python 3.11, onnx 1.23.1, onnxruntime 1.30.0, h5py 3.14)
    python3 -B test/models/make_variants.py       (after make_onnx.py and make_keras.py)

Rewritten: the same network as the file it is made from, with its numbers kept in another way or in another opset; onnxruntime must
answer the same. tf2onnx-*: written by hand with onnx.helper after what tf2onnx 1.16 writes (images last to first: a Transpose behind
the input, auto_pad or one-sided pads, constants by name, Transpose back before Reshape), with the weights of keras/*.h5;
onnxruntime must answer what Keras answers.
"""

import h5py
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

from files import HERE, colour_images, grey_images, read_tensors

OUT = HERE / "onnx"


def answers(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def save(name, model, images, expected, tolerance=2e-5):
    onnx.checker.check_model(model, full_check=True)
    difference = np.abs(answers(model, images) - expected).max()
    assert difference < tolerance, (name, difference)
    onnx.save(model, OUT / f"{name}.onnx")
    print(f"{name}: opset {model.opset_import[0].version}, {(OUT / f'{name}.onnx').stat().st_size} bytes, {difference:.1e}")


def rewrite(name, source, images, change, tolerance=2e-5):
    model = onnx.load(OUT / f"{source}.onnx")
    expected = answers(model, images)
    save(name, change(model) or model, images, expected, tolerance)


def as_float_data(model):
    """Numbers in the repeated field `float_data`, as some old writers did."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.ClearField("raw_data")
            tensor.float_data.extend(values.ravel())


def as_constants(model):
    """Every initializer as a Constant node."""
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer]
    rest = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes + rest)


def as_type(dtype):
    """Every matrix and kernel in another type, with a Cast behind it."""

    def change(model):
        casts = []
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype != np.float32 or values.ndim < 2:
                continue
            name = f"{tensor.name}_stored"
            casts.append(helper.make_node("Cast", [name], [tensor.name], f"cast_{tensor.name}", to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(values.astype(dtype), name))
        rest = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend(casts + rest)

    return change


def at_opset(version):
    return lambda model: version_converter.convert_version(model, version)


class Graph:
    """Builds a graph as tf2onnx does; `weights` are those of a Keras HDF5 file by LAYER/WEIGHT."""

    def __init__(self, name, opset):
        self.opset, self.nodes, self.constants, self.count = opset, [], {}, 0
        self.weights = {}
        with h5py.File(HERE / "keras" / f"{name}.h5") as file:
            file["model_weights"].visititems(self.keep)

    def keep(self, path, item):
        if isinstance(item, h5py.Dataset):
            self.weights["/".join(path.split("/")[-2:])] = item[()]

    def constant(self, values, name=None):
        name = name or f"const_fold_opt__{len(self.constants) + 20}"
        self.constants[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def add(self, kind, inputs, name=None, **attributes):
        self.count += 1
        name = f"StatefulPartitionedCall/model/{name or kind}__{self.count}"
        self.nodes.append(helper.make_node(kind, inputs, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def axes(self, kind, x, axes, **attributes):
        """A node whose axes became an input with opset 13 (Squeeze) or 18 (ReduceMean)."""
        if self.opset >= (13 if kind == "Squeeze" else 18):
            return self.add(kind, [x, self.constant(np.int64(axes))], **attributes)
        return self.add(kind, [x], axes=axes, **attributes)

    def to_channels_first(self, x):
        return self.add("Transpose", [x], perm=[0, 3, 1, 2])

    def to_channels_last(self, x):
        return self.add("Transpose", [x], perm=[0, 2, 3, 1])

    def conv(self, x, layer, stride=1, pads=None, bias="conv"):
        """`pads`: None for auto_pad SAME_UPPER; `bias`: in the Conv, or an Add of [1,C,1,1] behind it."""
        kernel = self.weights.get(f"{layer}/kernel")
        depthwise = "depthwise" in layer
        group = kernel.shape[2] if depthwise else 1
        # [kh,kw,C,m] -> [C*m,1,kh,kw], [kh,kw,C,K] -> [K,C,kh,kw]
        turned = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
        if depthwise:
            turned = turned.reshape(-1, 1, *kernel.shape[:2])
        inputs = [x, self.constant(turned, f"StatefulPartitionedCall/model/{layer}/Conv2D_weights_fused_bn")]
        values = self.weights.get(f"{layer}/bias")
        if values is not None and bias == "conv":
            inputs.append(self.constant(values))
        padding = {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": pads}
        size = list(kernel.shape[:2])
        options = {"dilations": [1, 1], "strides": [stride] * 2, "kernel_shape": size, "group": group, **padding}
        x = self.add("Conv", inputs, f"{layer}/BiasAdd", **options)
        if values is not None and bias == "add":
            x = self.add("Add", [x, self.constant(values.reshape(1, -1, 1, 1))], f"{layer}/BiasAdd")
        return x

    def batch_norm(self, x, layer, epsilon=1e-3):
        """Without scale or centre tf2onnx stores ones or zeros."""
        mean = self.weights[f"{layer}/moving_mean"]
        parts = [
            self.weights.get(f"{layer}/gamma", np.ones_like(mean)),
            self.weights.get(f"{layer}/beta", np.zeros_like(mean)),
            mean,
            self.weights[f"{layer}/moving_variance"],
        ]
        return self.add("BatchNormalization", [x, *map(self.constant, parts)], f"{layer}/FusedBatchNormV3", epsilon=epsilon)

    def dense(self, x, layer):
        x = self.add("MatMul", [x, self.constant(self.weights[f"{layer}/kernel"])], f"{layer}/MatMul")
        return self.add("Add", [x, self.constant(self.weights[f"{layer}/bias"])], f"{layer}/BiasAdd")

    def model(self, output, shape):
        nodes = [*self.nodes, helper.make_node("Identity", [output], ["dense"], "Identity:0")]
        value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        inputs, outputs = [value("input_1", ["unk__1", *shape])], [value("dense", ["unk__2", 10])]
        graph = helper.make_graph(nodes, "tf2onnx", inputs, outputs, list(self.constants.values()))
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("ai.onnx.ml", 2)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="like tf2onnx, written by hand")


def lenet(opset=13):
    graph = Graph("lenet", opset)
    # One channel: tf2onnx turns the Transpose behind the input into a Reshape.
    x = graph.add("Reshape", ["input_1", graph.constant(np.int64([-1, 1, 28, 28]))])
    x = graph.add("Tanh", [graph.conv(x, "conv2d")])
    x = graph.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    x = graph.add("Tanh", [graph.conv(x, "conv2d_1", pads=[0, 0, 0, 0])])
    x = graph.add("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID")
    x = graph.add("Reshape", [graph.to_channels_last(x), graph.constant(np.int64([-1, 300]))], "flatten/Reshape")
    for layer in ("dense", "dense_1"):
        x = graph.add("Tanh", [graph.dense(x, layer)])
    return graph.model(graph.add("Softmax", [graph.dense(x, "dense_2")], axis=-1), [28, 28, 1])


def resnet(opset=15):
    graph = Graph("resnet", opset)

    def layer(kind, index):
        return f"{kind}_{index}" if index else kind

    def block(x, first, norm, stride):
        padding = {"stride": 2, "pads": [0, 0, 1, 1]} if stride == 2 else {"pads": [1, 1, 1, 1]}
        y = graph.batch_norm(graph.conv(x, layer("conv2d", first), **padding), layer("batch_normalization", norm))
        y = graph.conv(graph.add("Relu", [y]), layer("conv2d", first + 1))
        y = graph.batch_norm(y, layer("batch_normalization", norm + 1))
        if stride == 2:
            x = graph.conv(x, layer("conv2d", first + 2), stride=2, pads=[0, 0, 0, 0], bias="add")
            x = graph.batch_norm(x, layer("batch_normalization", norm + 2))
        return graph.add("Relu", [graph.add("Add", [y, x])])

    mean, variance = graph.weights["standardise/mean"], graph.weights["standardise/variance"]
    x = graph.add("Sub", ["input_1", graph.constant(mean.reshape(1, 1, 1, 3).astype(np.float32))])
    x = graph.add("Div", [x, graph.constant(np.sqrt(variance).reshape(1, 1, 1, 3).astype(np.float32))])
    x = graph.add("Relu", [graph.conv(graph.to_channels_first(x), "conv2d")])
    x = block(x, 1, 0, 1)
    x = block(x, 3, 2, 2)
    x = block(x, 6, 5, 2)
    x = graph.add("GlobalAveragePool", [x]) if opset < 18 else graph.axes("ReduceMean", x, [2, 3], keepdims=1)
    x = graph.axes("Squeeze", x, [2, 3])
    return graph.model(graph.dense(x, "logits"), [32, 32, 3])


def mobile(opset=11):
    graph = Graph("mobile", opset)
    norms = iter(f"batch_normalization{suffix}" for suffix in ("", "_1", "_2", "_3"))

    def relu6(x):
        return graph.add("Min", [graph.add("Relu", [x]), graph.constant(np.float32(6))])

    # The layer is called after its kind, and its depthwise weights after theirs.
    weights = graph.weights
    weights["separable_depthwise/kernel"] = weights["separable_conv2d/depthwise_kernel"]
    weights["separable/kernel"] = weights["separable_conv2d/pointwise_kernel"]
    weights["separable/bias"] = weights["separable_conv2d/bias"]
    x = graph.add("Pad", ["input_1", graph.constant(np.int64([0, 0, 0, 0, 0, 1, 1, 0]))])
    x = graph.conv(graph.to_channels_first(x), "conv2d", stride=2, pads=[0, 0, 0, 0])
    x = relu6(graph.batch_norm(x, next(norms)))
    x = graph.conv(x, "depthwise_conv2d", bias="add")
    x = graph.batch_norm(x, next(norms))
    x = graph.add("Clip", [x, graph.constant(np.float32(0)), graph.constant(np.float32(6))])
    low = graph.batch_norm(graph.conv(x, "conv2d_1"), next(norms))
    x = graph.add("LeakyRelu", [graph.conv(low, "conv2d_2")], alpha=0.1)
    x = graph.add("Pad", [x, graph.constant(np.int64([0, 0, 1, 1, 0, 0, 1, 1]))])
    x = graph.batch_norm(graph.conv(x, "depthwise_conv2d_1", pads=[0, 0, 0, 0]), next(norms))
    x = graph.add("Mul", [graph.add("Sigmoid", [x]), x])
    x = graph.add("Add", [low, graph.conv(x, "conv2d_3")])
    x = graph.conv(graph.conv(x, "separable_depthwise", stride=2), "separable", pads=[0, 0, 0, 0])
    x = graph.to_channels_last(graph.add("Relu", [x]))
    x = graph.to_channels_first(graph.add("Cast", [x], to=TensorProto.FLOAT))
    x = graph.add("AveragePool", [x], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = graph.add("Reshape", [graph.to_channels_last(x), graph.constant(np.int64([-1, 256]))], "flatten/Reshape")
    return graph.model(graph.add("Softmax", [graph.dense(x, "dense")], axis=1), [32, 32, 3])


def main():
    planes = lambda images: np.ascontiguousarray((images.astype(np.float32) / 255).transpose(0, 3, 1, 2))
    grey, colour = planes(grey_images(1)), planes(colour_images(8))
    rewrite("lenet-float-data", "lenet", grey, as_float_data)
    rewrite("lenet-half", "lenet", grey, as_type(np.float16), tolerance=0.1)
    rewrite("lenet-double", "lenet", grey, as_type(np.float64))
    rewrite("lenet-21", "lenet", grey, at_opset(21))
    rewrite("resnet8-constants", "resnet8", colour, as_constants)
    rewrite("mobilenetv2-18", "mobilenetv2", colour, at_opset(18))
    rewrite("densenet-21", "densenet", colour, at_opset(21))
    for name, model in (("lenet", lenet()), ("resnet", resnet()), ("mobile", mobile())):
        golden = read_tensors(HERE / "keras" / f"{name}.golden.safetensors")
        save(f"tf2onnx-{name}", model, golden["images"], golden["outputs"])
    golden = read_tensors(HERE / "keras" / "resnet.golden.safetensors")
    save("tf2onnx-resnet-18", resnet(18), golden["images"], golden["outputs"])


main()
