"""Writes a Keras 3 model as Keras 2 wrote it: the model_config and the HDF5 groups of TensorFlow 2.10 (Keras 2.10).

Layout from keras/saving/hdf5_format.py of Keras 2.10: attributes `keras_version`, `backend`, `model_config`; a group
`model_weights` with the attribute `layer_names`; in it a group for each layer, with or without weights, with the attribute
`weight_names` ("conv2d/kernel:0"), which are also the paths of the data sets in that group. The order of weights is that of Keras 2.
"""

import json

import h5py
import numpy as np

CONV = ["kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups", "activation", "use_bias"]
POOL = ["pool_size", "padding", "strides", "data_format"]
FIELDS = {
    "Conv2D": ["filters", *CONV],
    "DepthwiseConv2D": [*CONV, "depth_multiplier"],
    "SeparableConv2D": ["filters", *CONV, "depth_multiplier"],
    "Dense": ["units", "activation", "use_bias"],
    "BatchNormalization": ["momentum", "epsilon", "center", "scale"],
    "MaxPooling2D": POOL,
    "AveragePooling2D": POOL,
    "GlobalAveragePooling2D": ["data_format", "keepdims"],
    "ZeroPadding2D": ["padding", "data_format"],
    "ReLU": ["max_value", "negative_slope", "threshold"],
    "ELU": ["alpha"],
    "Activation": ["activation"],
    "Dropout": ["rate"],
    "Flatten": ["data_format"],
    "Rescaling": ["scale", "offset"],
    "Softmax": ["axis"],
    "Add": [],
}
RENAMED = {"silu": "swish"}
INITIAL = {"class_name": "GlorotUniform", "config": {"seed": None}}


def layer_config(layer):
    """The configuration of one layer in Keras 2's words."""
    ours = layer.get_config()
    kind = type(layer).__name__
    if kind == "InputLayer":
        shape = [None, *layer.batch_shape[1:]]
        return {"batch_input_shape": shape, "dtype": "float32", "sparse": False, "ragged": False, "name": layer.name}
    config = {"name": layer.name, "trainable": True, "dtype": "float32"}
    if kind == "LeakyReLU":
        return {**config, "alpha": float(np.float32(ours["negative_slope"]))}
    if kind == "BatchNormalization":
        config["axis"] = [3] if len(layer.input.shape) == 4 else [1]
        config["moving_mean_initializer"] = {"class_name": "Zeros", "config": {}}
    for field in FIELDS[kind]:
        value = ours.get(field, 1)  # Keras 3 leaves out `groups` where it is always 1.
        config[field] = RENAMED.get(value, value) if isinstance(value, str) else value
    if kind == "DepthwiseConv2D":
        config["depthwise_initializer"] = INITIAL
    elif "use_bias" in config:
        config |= {"kernel_initializer": INITIAL, "bias_regularizer": None, "kernel_constraint": None}
    if kind == "Dropout":
        config |= {"noise_shape": None, "seed": None}
    return config


def model_config(model):
    if type(model).__name__ == "Sequential":
        layers = [model._layers[0], *model.layers]
        config = [{"class_name": type(layer).__name__, "config": layer_config(layer)} for layer in layers]
        # Keras 2 also repeats the input's shape in the first layer that follows.
        config[1]["config"]["batch_input_shape"] = config[0]["config"]["batch_input_shape"]
        return {"class_name": "Sequential", "config": {"name": model.name, "layers": config}}
    layers = []
    for layer in model.layers:
        before = layer._inbound_nodes[0].parent_nodes
        inbound = [[[node.operation.name, 0, 0, {}] for node in before]] if before else []
        layers.append(
            {
                "class_name": type(layer).__name__,
                "config": layer_config(layer),
                "name": layer.name,
                "inbound_nodes": inbound,
            }
        )
    ends = {
        "input_layers": [[tensor._keras_history.operation.name, 0, 0] for tensor in model.inputs],
        "output_layers": [[tensor._keras_history.operation.name, 0, 0] for tensor in model.outputs],
    }
    return {"class_name": "Functional", "config": {"name": model.name, "layers": layers, **ends}}


def weight_name(layer, weight):
    kernel = "depthwise_kernel" if type(layer).__name__ == "DepthwiseConv2D" else "kernel"
    return f"{layer.name}/{kernel if weight.name == 'kernel' else weight.name}:0"


def save_keras2(model, path):
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.10.0"
        file.attrs["backend"] = b"tensorflow"
        file.attrs["model_config"] = json.dumps(model_config(model)).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        group.attrs["backend"] = b"tensorflow"
        group.attrs["keras_version"] = b"2.10.0"
        for layer in model.layers:
            inner = group.create_group(layer.name)
            names = [weight_name(layer, weight) for weight in layer.weights]
            inner.attrs["weight_names"] = np.array([name.encode() for name in names])
            for name, weight in zip(names, layer.weights):
                inner.create_dataset(name, data=np.array(weight))
