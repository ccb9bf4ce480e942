"""The PyTorch networks that make_onnx.py and make_dynamo.py export: the structure of the real ones, few channels, random weights."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from files import colour_images, grey_images


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def conv(inputs, outputs, kernel=3, stride=1, **options):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False, **options)


def conv_norm(inputs, outputs, activation=None, **options):
    layers = [conv(inputs, outputs, **options), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([activation()] if activation else []))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 12, 5),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(300, 40),
        nn.Tanh(),
        nn.Linear(40, 24),
        nn.Sigmoid(),
        nn.Linear(24, 10),
    )


class VggElu(nn.Module):
    """As most VGG code does: batch norm, `view` with the batch size, two dropouts, batch norm of vectors."""

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for width in (6, "pool", 10, "pool", 16, 16, "pool"):
            if width == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width), nn.ELU()]
            inputs = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(0.4)
        self.hidden = nn.Linear(256, 24)
        self.norm = nn.BatchNorm1d(24)
        self.classifier = nn.Linear(24, 10)

    def forward(self, x):
        x = self.features(x)
        x = x.view(x.size(0), -1)
        return self.classifier(self.dropout(F.elu(self.norm(self.hidden(self.dropout(x))))))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, project):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = conv_norm(inputs, outputs, kernel=1, stride=stride) if project else nn.Sequential()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, widths, depth, pool="adaptive"):
        super().__init__()
        self.stem = conv_norm(3, widths[0], nn.ReLU)
        blocks, inputs = [], widths[0]
        for stage, width in enumerate(widths):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(BasicBlock(inputs, width, stride, project=stride > 1 or inputs != width))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        pools = {"adaptive": nn.AdaptiveAvgPool2d(1), "mean": Lambda(lambda x: x.mean([2, 3])), "fixed": nn.AvgPool2d(4)}
        self.pool = pools[pool]
        self.fc = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.pool(self.blocks(self.stem(x)))
        return self.fc(torch.flatten(x, 1))


def resnet8(pool="adaptive"):
    return ResNet((8, 12, 16), 1, pool)


class PlainShortcut(nn.Module):
    """The shortcut of ResNets for CIFAR (arXiv 1512.03385, option A): every other pixel, and channels of zeros; no weights."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.zeros = (outputs - inputs) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))


class PlainResNet(nn.Module):
    """A ResNet without weights in its shortcuts, which takes the only pixel that its pooling leaves by its place."""

    def __init__(self):
        super().__init__()
        self.stem = conv_norm(3, 8, nn.ReLU)
        self.wider = conv_norm(8, 16, stride=2)
        self.shortcut = PlainShortcut(8, 16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        x = torch.relu(self.wider(x) + self.shortcut(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0])


def resnet18():
    return ResNet((4, 6, 8, 12), 2, "fixed")


class PreActBlock(nn.Module):
    """Batch norm and ReLU first; the shortcut convolution takes what they give."""

    def __init__(self, inputs, outputs, stride, dropout=0.0):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = conv(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None

    def forward(self, x):
        y = F.relu(self.bn1(x))
        shortcut = self.shortcut(y) if self.shortcut else x
        y = self.conv1(y)
        return self.conv2(self.dropout(F.relu(self.bn2(y)))) + shortcut


def preact(widths, depth, dropout=0.0):
    layers, inputs = [conv(3, widths[0])], widths[0]
    for stage, width in enumerate(widths[1:] if dropout else widths):
        for index in range(depth):
            layers.append(PreActBlock(inputs, width, 2 if stage and not index else 1, dropout))
            inputs = width
    last = [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]
    size = 8 if dropout else 4
    view = Lambda(lambda x: x.view(-1, inputs))
    return nn.Sequential(*layers, *last, nn.AvgPool2d(size), view, nn.Linear(inputs, 10))


def preact_resnet18():
    return preact((4, 6, 8, 12), 2)


def wide_resnet16():
    return preact((8, 8, 12, 16), 2, dropout=0.3)


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        layers = [conv_norm(inputs, hidden, nn.ReLU6, kernel=1)] if expand > 1 else []
        layers += [conv_norm(hidden, hidden, nn.ReLU6, stride=stride, groups=hidden)]
        self.conv = nn.Sequential(*layers, conv_norm(hidden, outputs, kernel=1))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [conv_norm(3, 8, nn.ReLU6)], 8
        for expand, outputs, count, stride in ((1, 4, 1, 1), (3, 6, 2, 2), (3, 8, 2, 2), (3, 10, 2, 1), (3, 12, 1, 2)):
            for index in range(count):
                layers.append(InvertedResidual(inputs, outputs, stride if index == 0 else 1, expand))
                inputs = outputs
        self.features = nn.Sequential(*layers, conv_norm(inputs, 24, nn.ReLU6, kernel=1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, 10))

    def forward(self, x):
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1)).reshape(x.shape[0], -1)
        return self.classifier(x)


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, 2 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), conv(2 * growth, growth)

    def forward(self, x):
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


def densenet():
    layers, width = [conv(3, 8)], 8
    for block in range(3):
        for _ in range(3):
            layers.append(DenseLayer(width, 4))
            width += 4
        if block < 2:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), conv(width, width // 2, 1), nn.AvgPool2d(2, stride=2)]
            width //= 2
    pool = Lambda(lambda x: F.adaptive_avg_pool2d(F.relu(x, inplace=True), (1, 1)))
    return nn.Sequential(*layers, nn.BatchNorm2d(width), pool, nn.Flatten(), nn.Linear(width, 10))


def shuffle(groups):
    """As ShuffleNet: [B,g,C/g,H,W] -> [B,C/g,g,H,W]."""

    def function(x):
        batch, channels, height, width = x.shape
        x = x.view(batch, groups, channels // groups, height, width)
        return torch.transpose(x, 1, 2).contiguous().view(batch, -1, height, width)

    return Lambda(function)


def shufflenet():
    """Grouped convolutions and channel shuffles; ends with the logarithm of the softmax."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(12, 24, 1, groups=3, bias=False),
        nn.BatchNorm2d(24),
        shuffle(3),
        nn.Conv2d(24, 24, 3, padding=1, groups=24),
        nn.Conv2d(24, 18, 1, groups=6),
        nn.ReLU(),
        shuffle(6),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(18, 10),
        nn.LogSoftmax(1),
    )


class ShuffleUnit(nn.Module):
    """As ShuffleNetV2: half of the channels goes by, then both halves are mixed."""

    def __init__(self, width):
        super().__init__()
        self.branch = nn.Sequential(
            conv_norm(width // 2, width // 2, nn.ReLU, kernel=1),
            conv_norm(width // 2, width // 2, groups=width // 2),
            conv_norm(width // 2, width // 2, nn.ReLU, kernel=1),
        )

    def forward(self, x):
        past, through = x.chunk(2, dim=1)
        return shuffle(2)(torch.cat((past, self.branch(through)), dim=1))


def shufflenetv2():
    pool = Lambda(lambda x: x.mean([2, 3]))
    return nn.Sequential(conv_norm(3, 16, nn.ReLU, stride=2), ShuffleUnit(16), ShuffleUnit(16), pool, nn.Linear(16, 10))


def activations(*more):
    """One after each convolution; ends with a softmax."""
    kinds = [nn.SiLU(), nn.Hardswish(), nn.LeakyReLU(0.2), nn.GELU(), nn.SELU(), nn.Sigmoid(), nn.Tanh(), nn.ELU()]
    layers, inputs = [], 3
    for index, kind in enumerate([*kinds, *more]):
        layers += [nn.Conv2d(inputs, 8, 3, stride=2 if index in (0, 4) else 1, padding=1), kind]
        inputs = 8
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10), nn.Softmax(dim=1))


def windows():
    """Paddings that the common case hides: asymmetric, dilated, counted or not, windows that hang over the edge."""
    return nn.Sequential(
        Lambda(lambda x: (x - 0.5) * 2),
        nn.ZeroPad2d((0, 1, 2, 0)),
        nn.Conv2d(3, 8, (3, 2), padding=(0, 1)),
        nn.LeakyReLU(),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=True),
        nn.Conv2d(8, 12, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.AvgPool2d(3, 1, padding=1, count_include_pad=False),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.BatchNorm2d(12),
        nn.Conv2d(12, 16, (1, 3), stride=(2, 1), padding=(0, 1)),
        nn.ReLU(),
        nn.MaxPool2d((2, 3), (1, 2), padding=(1, 1)),
        nn.Flatten(),
        nn.Linear(320, 10),
    )


class Normalised(nn.Module):
    """The input is normalised in the file, as exporters of deployed models do; the answer is a softmax over 2 x - 1."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.body = nn.Sequential(
            conv_norm(3, 8, nn.ReLU, stride=2),
            nn.Dropout(0.3),
            conv_norm(8, 12, nn.ReLU, stride=2),
            nn.AdaptiveAvgPool2d((2, 2)),
        )
        self.fc = nn.Linear(48, 10, bias=False)

    def forward(self, x):
        x = self.body((x - self.mean) / self.std)
        return F.softmax(self.fc(torch.flatten(x, start_dim=1)), -1)


def images_for(network):
    """The images that a network is set up with: [N,C,H,W] in 0..1."""
    channels = next(part for part in network.modules() if isinstance(part, nn.Conv2d)).in_channels
    images = grey_images(16) if channels == 1 else colour_images(16)
    return torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2).contiguous()


def prepared(build, seed, gain=2):
    """
    A network with weights of a sane size, batch norms that do something, and logits that differ between images by several units.
    A larger `gain` is for networks whose activations level out what differs between images: rounding would be blown up with it.
    """
    random = np.random.RandomState(seed)
    network = build().eval()
    draw = lambda tensor, values: tensor.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                size = part.weight[0].numel()
                draw(part.weight, random.standard_normal(part.weight.shape) * np.sqrt(gain / size))
                if part.bias is not None:
                    draw(part.bias, random.standard_normal(part.bias.shape) * 0.3)
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                draw(part.weight, random.uniform(0.6, 1.4, part.weight.shape))
                draw(part.bias, random.standard_normal(part.bias.shape) * 0.3)
                draw(part.running_mean, random.standard_normal(part.bias.shape) * 0.3)
                draw(part.running_var, random.uniform(0.5, 2.0, part.bias.shape))
        last = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
        seen = []
        hook = last.register_forward_hook(lambda _, inputs, output: seen.append(output))
        images = images_for(network)
        network(images)
        last.weight *= 2 / seen[-1].std(0).mean()
        network(images)
        if last.bias is not None:
            last.bias -= seen[-1].mean(0)
        network(images)
        hook.remove()
    return network, images, seen[-1]
