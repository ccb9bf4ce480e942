"""A network as network.json has it, in PyTorch."""
import json
import math
import sys

import torch
import torch.nn.functional as F

from torch_data import read_safetensors


class Network:
    """A graph of layers as network.json has it; activations are NCHW here."""

    def __init__(self, folder):
        graph = json.load(open(folder + '/network.json'))
        self.layers, self.output, self.labels = graph['layers'], graph['output'], len(graph['labelNames'])
        self.weights = {}
        for name, value in read_safetensors(folder + '/weights.safetensors').items():
            tensor = torch.tensor(value)
            self.weights[name] = tensor.permute(3, 2, 0, 1).contiguous() if tensor.dim() == 4 else tensor

    def run(self, entering, wanted, start='images', weights=None):
        """Activations of the wanted nodes, from those of the node `start` on."""
        weights = weights or self.weights
        seen = {start: entering}
        for layer in self.layers:
            if layer['name'] in seen or not all(name in seen for name in layer['inputs']):
                continue
            seen[layer['name']] = apply_layer(layer, [seen[name] for name in layer['inputs']], weights)
            if all(name in seen for name in wanted):
                break
        return [seen[name] for name in wanted]

    def logits(self, images):
        return self.run(images, [self.output])[0]

    def cut(self):
        """What enters the last dense layer."""
        return [layer for layer in self.layers if layer['type'] == 'dense'][-1]['inputs'][0]

    def head(self):
        last = [layer for layer in self.layers if layer['type'] == 'dense'][-1]['name']
        return [name for name in self.weights if name.startswith(last + '/')]


def same(padding, size, kernel, stride):
    if isinstance(padding, dict):
        return padding
    if padding == 'valid':
        return {'top': 0, 'bottom': 0, 'left': 0, 'right': 0}
    total = [max(0, (math.ceil(size[i] / stride[i]) - 1) * stride[i] + kernel[i] - size[i]) for i in (0, 1)]
    return {'top': total[0] // 2, 'bottom': total[0] - total[0] // 2, 'left': total[1] // 2, 'right': total[1] - total[1] // 2}


def apply_layer(layer, inputs, weights):
    kind, (x, *_) = layer['type'], inputs
    name = layer['name']
    if kind == 'conv2d':
        p = same(layer['padding'], x.shape[2:], layer['kernelSize'], layer['strides'])
        pads = (p['top'], p['left'])
        if (p['bottom'], p['right']) != pads:
            x, pads = F.pad(x, (p['left'], p['right'], p['top'], p['bottom'])), (0, 0)
        bias = weights.get(name + '/bias')
        return F.conv2d(x, weights[name + '/kernel'], bias, layer['strides'], pads, layer['dilations'], layer['groups'])
    if kind == 'dense':
        y = x @ weights[name + '/kernel']
        return y + weights[name + '/bias'] if layer['bias'] else y
    if kind in ('maxPool', 'averagePool'):
        p = same(layer['padding'], x.shape[2:], layer['poolSize'], layer['strides'])
        if any(p.values()):
            sys.exit(f'{name}: a padded pool is not written here')
        pool = F.max_pool2d if kind == 'maxPool' else F.avg_pool2d
        return pool(x, layer['poolSize'], layer['strides'])
    if kind == 'flatten':
        return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x
    if kind == 'globalAveragePool':
        return x.mean((2, 3))
    if kind == 'add':
        return sum(inputs)
    if kind == 'normalize':
        mean, std = (torch.tensor(layer[key]).view(1, -1, 1, 1) for key in ('mean', 'std'))
        return (x - mean) / std
    if kind in ('relu', 'elu', 'relu6', 'selu', 'tanh', 'sigmoid'):
        return {'relu': F.relu, 'elu': F.elu, 'relu6': F.relu6, 'selu': F.selu, 'tanh': torch.tanh, 'sigmoid': torch.sigmoid}[kind](x)
    sys.exit(f'{name}: layers of type {kind} are not written here')
