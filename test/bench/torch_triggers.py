"""Triggers and the networks that draw them, in PyTorch: the parts, sizes and shapes of offline/recover/."""
import torch
import torch.nn.functional as F


def parts_of(raw, kind, shape):
    channels, height, width = shape
    bounded = torch.tanh(raw)
    if kind != 'blend':
        return None, bounded.view(-1, 2 if kind == 'warp' else channels, height, width)
    unit = (bounded + 1) / 2
    return unit[:, : height * width].view(-1, 1, height, width), unit[:, height * width :].view(-1, *shape)


def stamp(images, mask, pattern):
    """Stamps trigger n on the n-th group of images."""
    grouped = images.view(len(pattern), len(images) // len(pattern), *images.shape[1:])
    if mask is None:
        return (grouped + pattern[:, None]).clamp(0, 1).view_as(images)
    return (grouped * (1 - mask[:, None]) + mask[:, None] * pattern[:, None]).view_as(images)


def warp(images, flow):
    """Reads the n-th group of images where the n-th flow [N,2,H,W] points, in pixels down and right."""
    height, width = images.shape[2:]
    still = F.affine_grid(torch.eye(2, 3)[None], (1, 1, height, width), align_corners=True)
    scale = torch.tensor([2 / max(1, width - 1), 2 / max(1, height - 1)])
    places = still + flow.flip(1).permute(0, 2, 3, 1) * scale
    places = places.repeat_interleave(len(images) // len(flow), 0)
    return F.grid_sample(images, places, padding_mode='border', align_corners=True)


def norms_of(mask, pattern):
    return mask.sum((1, 2, 3)) if mask is not None else pattern.abs().sum((1, 2, 3)) / pattern.shape[1]


def size_of(kind, shape):
    return shape[1] * shape[2] * ((1 + shape[0]) if kind == 'blend' else shape[0])


class Generator(torch.nn.Module):
    def __init__(self, base):
        super().__init__()
        self.hidden = torch.nn.ModuleList(torch.nn.Linear(size, 64, bias=False) for size in (16, 80, 80))
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm1d(64) for _ in range(3))
        self.last = torch.nn.Linear(80, len(base))
        torch.nn.init.normal_(self.last.weight, 0, 0.1 / 8)
        self.last.bias.data = base.clone()

    def forward(self, noise):
        chunks = noise.split(16, 1)
        state = chunks[0]
        for index, (linear, norm) in enumerate(zip(self.hidden, self.norms)):
            state = torch.cat([F.leaky_relu(norm(linear(state)), 0.2), chunks[index + 1]], 1)
        return self.last(state)


class Estimator(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.noise, self.trigger = torch.nn.Linear(64, 64), torch.nn.Linear(outputs, 64, bias=False)
        self.middle, self.last = torch.nn.Linear(64, 64, bias=False), torch.nn.Linear(64, 1, bias=False)

    def forward(self, noise, triggers):
        joined = F.leaky_relu(self.noise(noise) + self.trigger(triggers), 0.2)
        return self.last(F.leaky_relu(self.middle(joined), 0.2))
