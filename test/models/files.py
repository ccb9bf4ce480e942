"""What the scripts of this folder share: tensor files (safetensors, written without a library) and the images they run models on."""

import json
import struct
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
EXAMPLE = HERE.parent.parent / "offline" / "example"
DTYPES = {"F32": np.float32, "U8": np.uint8, "I32": np.int32}


def read_tensors(path):
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def write_tensors(path, tensors):
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    header, blobs, offset = {}, [], 0
    for name, values in tensors.items():
        blob = np.ascontiguousarray(values).tobytes()
        header[name] = {
            "dtype": names[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def grey_images(count):
    """The first example images: uint8 [N,28,28,1]."""
    return read_tensors(EXAMPLE / "test-2000.safetensors")["images"][:count]


def colour_images(count):
    """The first of images-32.safetensors: uint8 [N,32,32,3]."""
    return read_tensors(HERE / "images-32.safetensors")["images"][:count]
