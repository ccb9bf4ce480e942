"""Writes the Keras models of keras/: small random networks, each with what Keras itself answers for real images.

    pip install keras tensorflow-cpu h5py         (made with Python 3.11, Keras 3.15.1, TensorFlow 2.21.0, h5py 3.14)
    python3 -B test/models/make_keras.py

For each model NAME.h5 and NAME.keras hold the same weights, saved by Keras 3, and NAME.golden.safetensors holds `images`
[N,H,W,C] as the model takes them (float32), what it answers for them, `outputs` [N,K], and `logits` [N,K], which are the same but
for the softmax that some models end with. NAME.keras2.h5 holds the same weights in the HDF5 layout and configuration of Keras 2, written by keras2.py; Keras 3
reads it back here to the same answers. Running this again gives the same weights and answers, but not the same bytes: Keras
writes dates and object addresses into its files.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import Input, Model, Sequential, layers as L

from files import HERE, colour_images, grey_images, write_tensors
from keras2 import save_keras2

OUT = HERE / "keras"


def lenet():
    return Sequential(
        [
            Input((28, 28, 1)),
            L.Conv2D(6, 5, padding="same", activation="tanh"),
            L.AveragePooling2D(2),
            L.Conv2D(12, 5, activation="tanh"),
            L.AveragePooling2D(2),
            L.Flatten(),
            L.Dense(40, activation="tanh"),
            L.Dense(24, activation="tanh"),
            L.Dense(10, activation="softmax"),
        ]
    )


def vgg_elu():
    model = Sequential([Input((32, 32, 3)), L.Rescaling(1 / 127.5, offset=-1)])
    for filters in (8, 12, 20):
        for _ in range(2):
            model.add(L.Conv2D(filters, 3, padding="same"))
            model.add(L.BatchNormalization())
            model.add(L.ELU())
        model.add(L.MaxPooling2D(2))
        model.add(L.Dropout(0.2))
    model.add(L.Flatten())
    model.add(L.Dense(32, activation="elu"))
    model.add(L.BatchNormalization(epsilon=1e-5))
    model.add(L.Dropout(0.5))
    model.add(L.Dense(10))
    model.add(L.Softmax())
    return model


def resnet():
    """Stride 2 with `same` (padded at the end only), batch norms without scale or centre, one Activation and one ReLU layer."""

    def block(x, filters, stride, norm):
        shortcut = x
        y = L.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
        y = L.Activation("relu")(L.BatchNormalization(**norm)(y))
        y = L.Conv2D(filters, 3, padding="same", use_bias=False)(y)
        y = L.BatchNormalization(**norm)(y)
        if stride > 1:
            shortcut = L.BatchNormalization()(L.Conv2D(filters, 1, strides=stride)(x))
        return L.ReLU()(L.Add()([y, shortcut]))

    inputs = Input((32, 32, 3), name="photos")
    x = L.RandomFlip("horizontal")(inputs)
    x = L.Normalization(name="standardise")(x)
    x = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = block(x, 8, 1, {"scale": False})
    x = block(x, 12, 2, {"center": False})
    x = block(x, 16, 2, {"momentum": 0.9})
    x = L.GlobalAveragePooling2D()(x)
    return Model(inputs, L.Dense(10, name="logits")(L.Dropout(0.3)(x)))


def mobile():
    inputs = Input((32, 32, 3))
    x = L.ZeroPadding2D(((0, 1), (0, 1)))(inputs)
    x = L.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = L.ReLU(max_value=6)(L.BatchNormalization()(x))
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    x = L.Conv2D(8, 1, use_bias=False)(x)
    low = L.BatchNormalization()(x)
    x = L.Conv2D(16, 1)(low)
    x = L.LeakyReLU(negative_slope=0.1)(x)
    x = L.ZeroPadding2D(1)(x)
    x = L.DepthwiseConv2D(3, use_bias=False)(x)
    x = L.Activation("swish")(L.BatchNormalization()(x))
    x = L.Add()([low, L.Conv2D(8, 1)(x)])
    x = L.SeparableConv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    x = L.AveragePooling2D(3, strides=2, padding="same")(x)
    x = L.Flatten()(x)
    return Model(inputs, L.Dense(10, activation="softmax")(x))


def densenet():
    """Models inside of a model: a Sequential and a Functional, and batch norm before its convolution."""

    def grow(x, name):
        y = L.Activation("relu")(L.BatchNormalization()(x))
        y = L.Conv2D(6, 3, padding="same", use_bias=False)(y)
        return L.Concatenate(name=name)([x, y])

    inputs = Input((32, 32, 3))
    x = L.Normalization(mean=[124.0, 116.0, 104.0], variance=[3000.0, 3100.0, 3200.0])(inputs)
    stem = [L.Conv2D(8, 5, strides=2, padding="same"), L.BatchNormalization(), L.Activation("gelu")]
    x = Sequential([Input((32, 32, 3)), *stem], name="stem")(x)
    x = L.MaxPooling2D(3, strides=2, padding="same")(x)
    for index in range(3):
        x = grow(x, f"grown_{index}")
    inner = Input((8, 8, 26))
    y = L.Conv2D(12, 1, activation="selu")(inner)
    y = L.Add()([y, L.Conv2D(12, 3, padding="same", dilation_rate=2)(y)])
    x = Model(inner, L.AveragePooling2D(2)(y), name="transition")(x)
    x = L.Activation("sigmoid")(grow(x, "grown_3"))
    x = L.Concatenate()([L.GlobalAveragePooling2D()(x), L.GlobalMaxPooling2D()(x)])
    return Model(inputs, L.Dense(10)(x))


def grouped():
    """What is left: grouped convolution, shapes kept and changed, other activations."""
    inputs = Input((32, 32, 3))
    x = L.Conv2D(8, (3, 5), strides=(2, 1), padding="same", activation="relu6")(inputs)
    x = L.MaxPooling2D((2, 4))(x)
    x = L.Conv2D(12, 3, groups=4, activation="hard_silu", padding="same")(x)
    x = L.GlobalAveragePooling2D(keepdims=True)(L.Conv2D(16, 1, activation="leaky_relu")(x))
    x = L.Conv2D(20, 1, activation="silu")(x)
    x = L.Reshape((20,))(x)
    return Model(inputs, L.Dense(10, use_bias=False)(x))


def randomise(model, seed, images):
    """Weights of a sane size, batch norms that do something, and answers that spread over several units."""
    random = np.random.RandomState(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, (Model, Sequential)):
            continue
        for weight in layer.weights:
            values = random.standard_normal(weight.shape)
            if weight.name.endswith("kernel"):
                depthwise = isinstance(layer, L.DepthwiseConv2D) or weight.name == "depthwise_kernel"
                inputs = np.prod(weight.shape[:-2] if depthwise else weight.shape[:-1])
                values *= np.sqrt(2 / inputs)
            elif weight.name == "gamma":
                values = random.uniform(0.6, 1.5, weight.shape)
            elif weight.name == "moving_variance":
                values = random.uniform(0.4, 2.0, weight.shape)
            elif weight.name in ("bias", "beta", "moving_mean"):
                values *= 0.3
            else:
                continue
            weight.assign(values.astype(np.float32))
    last = last_dense(model)
    last.kernel.assign(last.kernel.numpy() * 1.5 / logits_of(model, images).std(0).mean())
    if last.use_bias:
        last.bias.assign(last.bias.numpy() - logits_of(model, images).mean(0))


def last_dense(model):
    return [layer for layer in model.layers if isinstance(layer, L.Dense)][-1]


def logits_of(model, images):
    """What the last dense layer gives before any softmax."""
    last = last_dense(model)
    before = Model(model.inputs, last.input).predict(images, verbose=0)
    bias = last.bias.numpy() if last.use_bias else 0
    return (before @ last.kernel.numpy() + bias).astype(np.float32)


def tolerant(layer):
    """Keras 2 wrote fields of a plain convolution into these layers, which Keras 3 refuses."""

    def from_config(cls, config):
        foreign = ("groups", "kernel_initializer", "kernel_constraint")
        return cls(**{field: value for field, value in config.items() if field not in foreign})

    return type(layer.__name__, (layer,), {"from_config": classmethod(from_config)})


KERAS2_LAYERS = {layer.__name__: tolerant(layer) for layer in (L.DepthwiseConv2D, L.SeparableConv2D)}


def make(name, build, seed, images, keras2=False):
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = build()
    for layer in model.layers:
        if layer.name == "standardise":
            layer.adapt(images)
    randomise(model, seed, images)
    answers = model.predict(images, verbose=0)
    logits = logits_of(model, images)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    softmax = powers / powers.sum(1, keepdims=True)
    assert np.allclose(answers, logits, atol=1e-5) or np.allclose(answers, softmax, atol=1e-5)
    print(name, model.count_params(), "spread", np.ptp(logits, 1), "between images", logits.std(0).mean())
    golden = {"images": images, "logits": logits, "outputs": answers}
    write_tensors(OUT / f"{name}.golden.safetensors", golden)
    files = [OUT / f"{name}.h5", OUT / f"{name}.keras"]
    for file in files:
        model.save(file)
    if keras2:
        files.append(OUT / f"{name}.keras2.h5")
        save_keras2(model, files[-1])
    for file in files:
        layers = KERAS2_LAYERS if "keras2" in file.name else None
        again = keras.models.load_model(file, layers, compile=False).predict(images, verbose=0)
        assert np.abs(again - answers).max() < 1e-5, file
        print("  ", file.name, file.stat().st_size)


def main():
    OUT.mkdir(exist_ok=True)
    grey = grey_images(4).astype(np.float32) / 255
    colour = colour_images(4).astype(np.float32)
    make("lenet", lenet, 1, grey, keras2=True)
    make("vgg-elu", vgg_elu, 2, colour, keras2=True)
    make("resnet", resnet, 3, colour / 255)
    make("mobile", mobile, 4, colour / 255, keras2=True)
    make("densenet", densenet, 5, colour)
    make("grouped", grouped, 6, colour / 255)


main()
