"""Tensors in files, and images parted into those to learn from and those held back."""
import json
import struct

import numpy as np
import torch

DTYPES = {'F32': np.float32, 'U8': np.uint8, 'I32': np.int32, 'I64': np.int64}


def read_safetensors(path):
    with open(path, 'rb') as file:
        data = file.read()
    (size,) = struct.unpack('<Q', data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == '__metadata__':
            continue
        start, end = entry['data_offsets']
        values = np.frombuffer(data[8 + size + start : 8 + size + end], DTYPES[entry['dtype']])
        tensors[name] = values.reshape(entry['shape']).copy()
    return tensors


class Split:
    """Seven of ten images to learn from, the rest held back."""

    def __init__(self, images, labels):
        self.shape = images.shape[1:]
        order = torch.randperm(len(images))
        held = round(0.3 * len(images))
        self.held, self.held_labels = images[order[:held]], labels[order[:held]]
        self.learn, self.learn_labels = images[order[held:]], labels[order[held:]]

    def draw(self, label, count):
        others = (self.learn_labels != label).nonzero()[:, 0]
        return self.learn[others[torch.randint(len(others), (count,))]]
