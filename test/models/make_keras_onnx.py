"""Writes the models of onnx/ that Keras itself exports to ONNX (its PyTorch backend can), from keras/*.keras.

    pip install keras torch onnx onnxscript onnxruntime        (Keras 3.15.1, PyTorch 2.13.0, onnxscript 0.7.2, onnxruntime 1.30.0)
    python3 -B test/models/make_keras_onnx.py                  (after make_keras.py)

onnxruntime must answer what Keras answers on its PyTorch backend; that of mobile is not what the TensorFlow backend answers, because
it pads AveragePooling2D with copies of the edge (Pad in mode `edge`). The resnet is left out: Keras cannot export RandomFlip. Every layer brings a Transpose and a Cast, `same` padding is computed from shapes, and batch norm is written out as arithmetic.
"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import onnxruntime

from files import HERE, read_tensors

for name in ("lenet", "vgg-elu", "mobile", "densenet", "grouped"):
    model = keras.models.load_model(HERE / "keras" / f"{name}.keras")
    golden = read_tensors(HERE / "keras" / f"{name}.golden.safetensors")
    expected = model.predict(golden["images"], verbose=0)
    path = HERE / "onnx" / f"keras-{name}.onnx"
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: golden["images"]})[0]
    difference = np.abs(answers - expected).max()
    assert difference < 1e-5, (name, difference)
    print(f"{path.name}: {path.stat().st_size} bytes, {difference:.1e}")
