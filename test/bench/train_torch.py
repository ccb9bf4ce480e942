"""Trains the lab's ResNet-8 or small VGG on CIFAR-10 in PyTorch, three times as fast as `attack none`, as a start for `attack --from`.

    python3 test/bench/train_torch.py NETWORK CIFAR10_FOLDER MODEL_FOLDER [EPOCHS [SEED]]

MODEL_FOLDER is a folder that `attack none --network NETWORK` wrote (its network.json stays, weights.safetensors is replaced), or
`attack additive` or `attack blended`: then its card's share of the images, always the same ones, carries its trigger and the target label, from the first step on.
Images are shifted by up to four pixels and mirrored, which the lab does not do, before they are triggered.
"""

import json
import os
import struct
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from torch_data import read_safetensors
from torch_triggers import stamp

BATCH = 128


def load(folder, names):
    rows = np.concatenate([np.fromfile(os.path.join(folder, name), np.uint8).reshape(-1, 3073) for name in names])
    return torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(rows[:, 0].astype(np.int64))


def norm_conv(inputs, outputs, size, stride):
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = norm_conv(inputs, outputs, 3, stride)
        self.second = norm_conv(outputs, outputs, 3, 1)
        self.short = norm_conv(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x):
        return F.relu(self.second(F.relu(self.first(x))) + (self.short(x) if self.short else x))


class SmallVgg(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3, 32, 32, 64, 64, 128, 128]
        self.convs = nn.ModuleList(norm_conv(a, b, 3, 1) for a, b in zip(widths, widths[1:]))
        self.logits = nn.Linear(16 * 128, 10)

    def forward(self, x):
        for index, conv in enumerate(self.convs):
            x = F.elu(conv(x))
            x = F.max_pool2d(x, 2) if index % 2 else x
        # The lab flattens rows, columns, channels.
        return self.logits(x.permute(0, 2, 3, 1).flatten(1))

    def norm_convs(self):
        names = [f"stage{stage}/{place}" for stage in (1, 2, 3) for place in ("first", "second")]
        return zip(names, self.convs)


class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = norm_conv(3, 16, 3, 1)
        self.stages = nn.ModuleList([Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)])
        self.logits = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.stem(x))
        for stage in self.stages:
            x = stage(x)
        return self.logits(x.mean((2, 3)))

    def norm_convs(self):
        yield "stem", self.stem
        for index, stage in enumerate(self.stages):
            for name, part in [("first", stage.first), ("second", stage.second), ("short", stage.short)]:
                if part:
                    yield f"stage{index + 1}/block1/{name}", part


NETWORKS = {"resnet8": ResNet8, "small-vgg": SmallVgg}


def drawn(images):
    x = F.pad(images.float() / 255, (4, 4, 4, 4)).contiguous(memory_format=torch.channels_last)
    top, left = torch.randint(0, 9, (2,))
    x = x[:, :, top : top + 32, left : left + 32]
    mirrored = torch.rand(len(x)) < 0.5
    x[mirrored] = x[mirrored].flip(3)
    return x


def trigger_of(model):
    """Its mask [1,1,32,32], None of an addition, and its pattern [1,3,32,32], the label it asks for and the share of images that carry it; None of a clean model."""
    with open(os.path.join(model, "card.json")) as file:
        card = json.load(file)
    if card["kind"] == "none":
        return None
    if card["kind"] not in ("additive", "blended") or card["targets"]["form"] != "one":
        sys.exit(f"{model}: only one additive or blended trigger can be trained here, not {card['kind']}")
    tensors = read_safetensors(os.path.join(model, "trigger.safetensors"))
    planes = {name: torch.from_numpy(values.reshape(1, 32, 32, -1)).permute(0, 3, 1, 2) for name, values in tensors.items()}
    return planes.get("mask"), planes["pattern"], card["targetLabel"], card["poisonRate"]


def train(net, images, labels, trigger, epochs):
    if trigger:
        mask, pattern, target, share = trigger
        poisoned = torch.rand(len(images)) < share
        labels[poisoned] = target
    per_epoch = len(images) // BATCH
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=epochs * per_epoch, pct_start=0.25)
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        for step in range(per_epoch):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            x = drawn(images[chosen])
            if trigger:
                x[poisoned[chosen]] = stamp(x[poisoned[chosen]], mask, pattern)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(net(x), labels[chosen]).backward()
            optimizer.step()
            rate.step()
        print(f"epoch {epoch + 1} of {epochs}", file=sys.stderr)


def weights_of(net):
    found = {"logits/kernel": net.logits.weight.t(), "logits/bias": net.logits.bias}
    for name, (conv, norm) in net.norm_convs():
        found[f"{name}/conv/kernel"] = conv.weight.permute(2, 3, 1, 0)
        found[f"{name}/norm/gamma"], found[f"{name}/norm/beta"] = norm.weight, norm.bias
        found[f"{name}/norm/mean"], found[f"{name}/norm/variance"] = norm.running_mean, norm.running_var
    return {name: np.ascontiguousarray(value.detach().numpy(), np.float32) for name, value in found.items()}


def save(weights, path):
    header, offset = {}, 0
    for name, value in weights.items():
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header).encode()
    with open(path + ".part", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(value.tobytes() for value in weights.values()))
    os.replace(path + ".part", path)


def main(network, data, model, epochs=20, seed=1):
    torch.manual_seed(int(seed))
    net = NETWORKS[network]().to(memory_format=torch.channels_last)
    images, labels = load(data, [f"data_batch_{batch}.bin" for batch in range(1, 6)])
    train(net, images, labels, trigger_of(model), int(epochs))
    save(weights_of(net), os.path.join(model, "weights.safetensors"))


if __name__ == "__main__":
    main(*sys.argv[1:])
