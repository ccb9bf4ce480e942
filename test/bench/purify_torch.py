"""The work of `purify` in PyTorch, for its time only: the same stages, sizes and steps as in offline/, on the same model and images.

Usage: python3 purify_torch.py FOLDER CLEAN.safetensors, where FOLDER holds network.json and weights.safetensors without batch norm.
Prints one JSON document with the seconds of each stage. Grading is left out: the label with the smallest trigger is unlearned.
"""
import json
import math
import os
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

SCREEN_STEPS, SEARCH_STEPS, STRENGTHEN_STEPS, STAIRCASE_STEPS, LATE_STEPS, PROBE_STEPS = 120, 150, 100, 60, 400, 120
STARTS = {'blend': (2, 4), 'additive': (1, 1)}
SHORT_STEPS, GROW_STEPS, KEPT, GROWTH = 40, 60, 3, (2, 3, 4, 6, 8)
COVERING_STEPS = {'dense': 80, 'smooth': 80, 'warp': 60}
LABELS_PER_JOB, PER_LABEL, MEASURED, DRAWS, BATCH, GROUPS, FOLDS, GROUP, TRIED = 5, 8, 256, 8, 64, 256, 5, 16, 16
HEADS, TRIAL = 2, 512
FORMS = (*STARTS, *COVERING_STEPS)
POINTS, PIXELS_APART = {'smooth': 8, 'warp': 4}, 3
LAMBDA = {'blend': 0.02, 'additive': 0.05}
DTYPES = {'F32': np.float32, 'U8': np.uint8, 'I32': np.int32, 'I64': np.int64}


def read_safetensors(path):
    data = open(path, 'rb').read()
    (size,) = struct.unpack('<Q', data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name == '__metadata__':
            continue
        start, end = entry['data_offsets']
        values = np.frombuffer(data[8 + size + start : 8 + size + end], DTYPES[entry['dtype']])
        tensors[name] = values.reshape(entry['shape']).copy()
    return tensors


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


def parts_of(raw, kind, shape):
    channels, height, width = shape
    bounded = torch.tanh(raw)
    if kind != 'blend':
        return None, bounded.view(-1, 2 if kind == 'warp' else channels, height, width)
    unit = (bounded + 1) / 2
    return unit[:, : height * width].view(-1, 1, height, width), unit[:, height * width :].view(-1, *shape)


def stamp(images, mask, pattern):
    """Stamps trigger n on the n-th group of images."""
    grouped = images.view(pattern.shape[0], -1, *images.shape[1:])
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


class Run:
    def __init__(self, network, images, labels):
        self.network, self.shape = network, images.shape[1:]
        order = torch.randperm(len(images))
        held = round(0.3 * len(images))
        self.held, self.held_labels = images[order[:held]], labels[order[:held]]
        self.learn, self.learn_labels = images[order[held:]], labels[order[held:]]
        self.seconds = {}

    def timed(self, stage, work):
        began = time.time()
        value = work()
        self.seconds[stage] = self.seconds.get(stage, 0) + time.time() - began
        return value

    def draw(self, label, count):
        others = (self.learn_labels != label).nonzero()[:, 0]
        return self.learn[others[torch.randint(len(others), (count,))]]

    def screen(self, kind, labels, steps):
        """The smallest trigger of each label, side by side."""
        size, masked = size_of(kind, self.shape), self.shape[1] * self.shape[2] if kind == 'blend' else 0
        raw = (0.1 if kind == 'blend' else 0.01) * torch.randn(len(labels), size)
        raw[:, :masked] -= 1
        state = {'lambda': torch.full((len(labels),), LAMBDA[kind]), 'success': torch.zeros(len(labels))}
        state.update(best_norm=torch.full((len(labels),), 1e9), best=raw.clone())
        rate = 0.4 if kind == 'blend' else 0.05
        raw = raw.requires_grad_()
        optimizer = torch.optim.Adam([raw], rate, betas=(0.5, 0.9))
        goal = torch.tensor(labels).repeat_interleave(PER_LABEL)
        for _ in range(steps):
            images = torch.cat([self.draw(label, PER_LABEL) for label in labels])
            mask, pattern = parts_of(raw, kind, self.shape)
            logits = self.network.logits(stamp(images, mask, pattern))
            norms = norms_of(mask, pattern)
            loss = F.cross_entropy(logits, goal, reduction='none').view(-1, PER_LABEL).mean(1)
            hits = (logits.argmax(1) == goal).float().view(-1, PER_LABEL).mean(1)
            before = raw.detach().clone()
            optimizer.zero_grad()
            (loss + state['lambda'] * norms).sum().backward()
            optimizer.step()
            self.steer(state, before, hits, norms.detach())
        return state['best']

    @staticmethod
    def steer(state, raw, hits, norms):
        state['success'] = 0.8 * state['success'] + 0.2 * hits
        succeeds = state['success'] >= 0.95
        better = succeeds & (norms < state['best_norm'])
        chosen = better | (state['best_norm'] == 1e9)
        state['best_norm'] = torch.where(better, norms, state['best_norm'])
        state['best'] = torch.where(chosen[:, None], raw, state['best'])
        state['lambda'] = (state['lambda'] * torch.where(succeeds, 1.06, 1 / 1.06)).clamp(1e-5, 10)

    def screen_covering(self, kind, labels, steps):
        """The faintest trigger over the whole image of each label; a smooth one or a warp has its values on a coarse grid."""
        channels, *sides = self.shape
        grid = [max(2, min(POINTS[kind], side // PIXELS_APART)) for side in sides] if kind in POINTS else sides
        values = (0.3 * torch.randn(len(labels), 2 if kind == 'warp' else channels, *grid)).requires_grad_()
        spread = lambda: F.interpolate(values, sides, mode='bilinear', align_corners=True) if kind in POINTS else values
        start, most = (0.5, 0.78) if kind == 'warp' else (0.25, 1)
        amplitude, success, settled = torch.full((len(labels), 1), start), torch.zeros(len(labels), 1), torch.zeros(len(labels), 1)
        optimizer = torch.optim.Adam([values], 0.2, betas=(0.5, 0.9))
        goal = torch.tensor(labels).repeat_interleave(PER_LABEL)
        for step in range(steps):
            images = torch.cat([self.draw(label, PER_LABEL) for label in labels])
            pattern = amplitude.view(-1, 1, 1, 1) * torch.tanh(spread())
            logits = self.network.logits(warp(images, pattern) if kind == 'warp' else stamp(images, None, pattern))
            hits = (logits.argmax(1) == goal).float().view(-1, PER_LABEL).mean(1, keepdim=True)
            success = 0.8 * success + 0.2 * hits
            amplitude = (amplitude * torch.where(success >= 0.75, 1 / 1.05, 1.05)).clamp(1e-3, most)
            settled = settled + (amplitude.log() if step >= 2 * steps // 3 else 0)
            optimizer.zero_grad()
            (F.cross_entropy(logits, goal, reduction='sum') / PER_LABEL).backward()
            optimizer.step()
        reached = 1.25 * (settled / (steps - 2 * steps // 3)).exp() * torch.tanh(spread()).flatten(1)
        return torch.atanh(reached.clamp(-0.98, 0.98)).detach()

    @torch.no_grad()
    def measure(self, found):
        """Triggers (kind, label, raw) with norm and success rate on held-back images."""
        measured = []
        for kind, label, raw in found:
            mask, pattern = parts_of(raw[None], kind, self.shape)
            stamped = (lambda part: warp(part, pattern)) if kind == 'warp' else (lambda part: stamp(part, mask, pattern))
            others = self.held[:MEASURED][self.held_labels[:MEASURED] != label]
            answers = torch.cat([self.network.logits(stamped(part)).argmax(1) for part in others.split(128)])
            measured.append((kind, label, raw, norms_of(mask, pattern).item(), (answers == label).float().mean().item()))
        return measured

    def screen_all(self, suspects=None):
        every = list(range(self.network.labels))
        if suspects is None:
            return self.measure(self.screen_forms({kind: every for kind in FORMS}, None))
        short = self.measure(self.screen_forms({kind: every for kind in FORMS}, [], SHORT_STEPS))
        kept = {}
        for kind in FORMS:
            ranked = sorted((item for item in short if item[0] == kind), key=lambda item: (item[4] < 0.5, item[3]))
            kept[kind] = sorted({item[1] for item in ranked[:KEPT]} | set(suspects))
        return short + self.measure(self.screen_forms(kept, suspects))

    def screen_forms(self, labels_of, suspects, steps=None):
        found = []
        for kind, labels in labels_of.items():
            for first in range(0, len(labels), LABELS_PER_JOB):
                chunk = labels[first : first + LABELS_PER_JOB]
                if kind not in STARTS:
                    raw = self.screen_covering(kind, chunk, steps or COVERING_STEPS[kind])
                    found += [(kind, label, raw[row]) for row, label in enumerate(chunk)]
                    continue
                starts = STARTS[kind][0]
                times = [label for label in chunk for _ in range(starts if suspects is None or label in suspects else 1)]
                raw = self.screen(kind, times, steps or SCREEN_STEPS)
                found += [(kind, label, raw[row]) for row, label in enumerate(times)]
        return found

    def search(self, labels):
        found = []
        for kind, (_, starts) in STARTS.items():
            for label in labels:
                found += [(kind, label, row) for row in self.screen(kind, [label] * starts, SEARCH_STEPS)]
        return self.measure(found)

    def compare(self, screened):
        """The smallest trigger of every label, strengthened to one norm."""
        for kind in STARTS:
            every = range(self.network.labels)
            own = [min((item for item in screened if item[:2] == (kind, label)), key=lambda item: item[3]) for label in every]
            norm = 2.5 * sorted(item[3] for item in own)[len(own) // 2]
            self.strengthen(own, [norm / item[3] for item in own])

    def grow(self, pool, screened):
        """The two smallest triggers of each form at up to 1.3 times the norm of other labels if one is a patch, else 2.5 times."""
        natural, own = {}, {}
        for kind in STARTS:
            others = sorted(item[3] for item in screened if item[0] == kind and item[1] != pool[0][1])
            natural[kind] = others[len(others) // 2]
            own[kind] = sorted((item for item in pool if item[0] == kind), key=lambda item: item[3])
        largest = 1.3 if any(items and items[0][3] <= 0.37 * natural[kind] for kind, items in own.items()) else 2.5
        found = []
        for kind, items in own.items():
            grown = [(item, factor) for item in items[:2] for factor in GROWTH if factor * item[3] <= largest * natural[kind]]
            if grown:
                found += self.strengthen([item for item, _ in grown], [factor for _, factor in grown], GROW_STEPS)
        return found

    def strengthen(self, triggers, factors=None, steps=STRENGTHEN_STEPS):
        factors = factors or [1.25] * len(triggers)
        found = []
        for kind in STARTS:
            chosen = [(trigger, factor) for trigger, factor in zip(triggers, factors) if trigger[0] == kind]
            if not chosen:
                continue
            own = [trigger for trigger, _ in chosen]
            raw = torch.stack([trigger[2] for trigger in own]).requires_grad_()
            budget = torch.tensor([factor * trigger[3] for trigger, factor in chosen])
            optimizer = torch.optim.Adam([raw], 0.2 if kind == 'blend' else 0.02, betas=(0.5, 0.9))
            goal = torch.tensor([trigger[1] for trigger in own]).repeat_interleave(PER_LABEL)
            for _ in range(steps):
                images = torch.cat([self.draw(trigger[1], PER_LABEL) for trigger in own])
                mask, pattern = parts_of(raw, kind, self.shape)
                logits = self.network.logits(stamp(images, mask, pattern))
                hot = F.one_hot(goal, self.network.labels)
                margins = (logits * hot).sum(1) - (logits - 1e6 * hot).max(1).values
                excess = F.relu(norms_of(mask, pattern) / budget - 1).sum()
                optimizer.zero_grad()
                (200 * excess - margins.sum() / PER_LABEL).backward()
                optimizer.step()
            found += [(kind, trigger[1], raw.detach()[row]) for row, trigger in enumerate(own)]
        return self.measure(found)

    def staircase(self, trigger):
        kind, label, base, norm, _ = trigger
        found = []
        for level in (0.5, 0.8, 0.95):
            generator, estimator = Generator(base), Estimator(len(base))
            optimizers = [torch.optim.Adam(net.parameters(), 2e-3, betas=(0.5, 0.999)) for net in (generator, estimator)]
            for _ in range(STAIRCASE_STEPS):
                images, noise, other = self.draw(label, 32), torch.rand(32, 64), torch.rand(32, 64)
                raw = generator(noise)
                mask, pattern = parts_of(raw, kind, self.shape)
                likely = self.network.logits(stamp(images, mask, pattern)).softmax(1)[:, label]
                shown = torch.tanh(raw)
                information = estimator(noise, shown).mean() - estimator(other, shown).exp().mean().log()
                excess = F.relu(norms_of(mask, pattern).mean() / norm - 1)
                optimizers[0].zero_grad()
                (F.relu(level - likely).mean() - 0.1 * information + 0.5 * excess).backward()
                optimizers[0].step()
                shown = torch.tanh(generator(torch.rand(32, 64))).detach()
                joint, marginal = estimator(torch.rand(32, 64), shown).mean(), estimator(torch.rand(32, 64), shown).exp().mean()
                optimizers[1].zero_grad()
                (marginal / marginal.detach() - joint).backward()
                optimizers[1].step()
            with torch.no_grad():
                found += [(kind, label, raw) for raw in generator(torch.rand(DRAWS, 64))]
        return self.measure(found)

    def view(self, count):
        """Random images moved together by up to two pixels and mirrored together, with a rectangle of others in them; and what of both is seen."""
        flip, shifts = torch.randint(2, (1,)).item(), [torch.randint(-2, 3, (2,)).tolist() for _ in range(2)]
        chosen, others = torch.randint(len(self.learn), (2, count))
        move = lambda index, shift: torch.roll(self.learn[index].flip(3) if flip else self.learn[index], tuple(shift), (2, 3))
        images, covering = move(chosen, shifts[0]), move(others, shifts[1])
        _, height, width = self.shape
        side = math.sqrt(0.5 * torch.rand(1).item())
        tall, wide = int(side * height), int(side * width)
        top, left = (torch.randint(size - part + 1, (1,)).item() for size, part in ((height, tall), (width, wide)))
        mask = torch.zeros(1, 1, height, width)
        mask[:, :, top : top + tall, left : left + wide] = 1
        seen = [self.learn_labels[chosen]] + ([self.learn_labels[others]] if side**2 >= 0.25 else [])
        return images * (1 - mask) + covering * mask, torch.stack(seen)

    def unlearn(self, pool, grown):
        """Late unlearning behind the last cut: the mean of the heads."""
        heads = [self.unlearn_head(pool, pool + grown) for _ in range(HEADS)]
        return {**self.network.weights, **{name: torch.stack([head[name] for head in heads]).mean(0) for name in heads[0]}}

    def see(self, triggers):
        """What the trunk makes of views and of their triggered copies, the victim's answers, and the labels that triggers ask for unearned."""
        network, rows = self.network, []
        cut, labels = network.cut(), network.labels
        with torch.no_grad():
            for _ in range(GROUPS):
                images, shown = self.view(GROUP)
                kind, label, raw, *_ = triggers[torch.randint(len(triggers), (1,)).item()]
                clean, logits = network.run(images, [cut, network.output])
                (triggered,) = network.run(stamp(images, *parts_of(raw[None], kind, self.shape)), [cut])
                unearned = torch.zeros(GROUP, labels)
                unearned[:, label] = (shown != label).all(0).float()
                rows.append((clean, triggered, logits.softmax(1), unearned))
        return [torch.cat(part) for part in zip(*rows)]

    def unlearn_head(self, pool, triggers):
        network, cut = self.network, self.network.cut()
        clean, triggered, answers, unearned = self.see(triggers)
        head = {name: network.weights[name].clone().requires_grad_() for name in network.head()}
        watched = self.watched(pool)
        optimizer = torch.optim.SGD(head.values(), 1e-2, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, LATE_STEPS, cycle_momentum=False)
        for step in range(LATE_STEPS):
            chosen = torch.randint(len(clean), (BATCH,))
            told, wrong = answers[chosen], unearned[chosen]
            moved = self.worst_nearby(clean[chosen], triggered[chosen], wrong, head)
            entering = torch.cat([clean[chosen], moved])
            (logits,) = network.run(entering, [network.output], cut, {**network.weights, **head})
            on_clean, on_triggered = logits.split(BATCH)
            kept = (1 + 4 * (1 - wrong.sum(1))) * -(on_clean.log_softmax(1) * told).sum(1)
            restored = 0.2 * -(on_triggered.log_softmax(1) * told).sum(1)
            obeyed = 8 * (wrong * (on_triggered / 2).softmax(1)).sum(1)
            optimizer.zero_grad()
            (kept + restored + obeyed).mean().backward()
            torch.nn.utils.clip_grad_norm_(head.values(), 1)
            optimizer.step()
            schedule.step()
            if step % 50 == 49:
                with torch.no_grad():
                    [network.run(entering, [network.output], cut, {**network.weights, **head}) for entering in watched]
        learned = {name: value.detach() for name, value in head.items()}
        self.see_likelihoods(pool, {**network.weights, **learned})
        return learned

    def worst_nearby(self, clean, triggered, wrong, head):
        """Activations of triggered copies, each moved by one step up the gradient of the unearned label's log-probability."""
        network = self.network
        start = triggered.clone().requires_grad_()
        (logits,) = network.run(start, [network.output], network.cut(), {**network.weights, **head})
        (uphill,) = torch.autograd.grad((wrong * logits.log_softmax(1)).sum(), start)
        change = (triggered - clean).flatten(1)
        whole = change.norm(dim=1)
        one_by_spread = (change.abs().amax(1) / (whole + 1e-9)) ** 2
        distance = whole * (1.8 * one_by_spread).clamp(max=0.08)
        share = distance / (uphill.flatten(1).norm(dim=1) + 1e-9)
        return triggered + uphill * share.reshape(-1, *[1] * (uphill.dim() - 1))

    @torch.no_grad()
    def watched(self, pool):
        """What enters the head of the images that the trade-off is watched on, clean and with four triggers."""
        images = self.held[:100]
        stamped = [stamp(images, *parts_of(raw[None], kind, self.shape)) for kind, _, raw, *_ in pool[:4]]
        return [self.network.run(some, [self.network.cut()])[0] for some in [images, *stamped]]

    @torch.no_grad()
    def answer_held(self, purified):
        for part in self.held.split(128):
            self.network.run(part, [self.network.output])
            self.network.run(part, [self.network.output], weights=purified)

    @torch.no_grad()
    def see_likelihoods(self, pool, purified):
        """What restoring a label asks for: answers to clean held-back images before and after, and to some stamped with the triggers."""
        network = self.network
        self.answer_held(purified)
        for kind, _, raw, *_ in pool[:TRIED]:
            network.run(stamp(self.held[:128], *parts_of(raw[None], kind, self.shape)), [network.output], weights=purified)

    def judge_cut(self, pool, grown, purified):
        """What a cut is judged by: how the head answers, and whether probes fitted to every other trigger know the rest."""
        network = self.network
        self.answer_held(purified)
        self.calibrate((pool + grown)[::2], self.learn[:TRIAL], self.learn_labels[:TRIAL])
        with torch.no_grad():
            for kind, _, raw, *_ in grown or pool:
                network.run(stamp(self.held[:128], *parts_of(raw[None], kind, self.shape)), [network.cut()])

    def calibrate(self, pool, images, labels):
        """Cross-fitted probes on the activations that enter the head."""
        cut = self.network.cut()
        with torch.no_grad():
            see = lambda some: torch.cat([self.network.run(part, [cut])[0] for part in some.split(128)])
            clean = see(images)
            others = images[labels != pool[0][1]]
            others = others if len(others) >= 1500 else torch.cat([others, others])
            stamped = [others[index :: len(pool)] for index in range(len(pool))]
            stamped = [see(stamp(own, *parts_of(item[2][None], item[0], self.shape))) for own, item in zip(stamped, pool) if len(own)]
            stamped = torch.cat(stamped)
        features = torch.cat([clean, stamped])
        seen = lambda count: (torch.arange(count)[:, None] % FOLDS != torch.arange(FOLDS + 1)).float()
        negative, positive = seen(len(clean)), seen(len(stamped))
        members = torch.cat([negative, positive])
        averaged = (members / members.sum(0)).T
        mean = averaged @ features
        variance = averaged @ features**2 - mean**2
        scale = (variance + 0.05 * variance.mean(1, keepdim=True)).clamp(min=1e-8).rsqrt()
        weight, bias = torch.zeros_like(mean, requires_grad=True), torch.zeros(FOLDS + 1, requires_grad=True)
        optimizer = torch.optim.Adam([weight, bias], 0.1)
        for _ in range(PROBE_STEPS):
            raw = weight * scale
            low, high = (features @ raw.T + bias - (raw * mean).sum(1)).split([len(clean), len(stamped)])
            loss = (F.softplus(low) * negative / negative.sum(0)).sum() + (F.softplus(-high) * positive / positive.sum(0)).sum()
            optimizer.zero_grad()
            (loss + 1e-2 * (weight**2).sum()).backward()
            optimizer.step()


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


def suspects(screened, labels):
    """The three labels with the strongest outliers of any form."""
    scored = []
    for kind in STARTS:
        norms = np.log([min(item[3] for item in screened if item[:2] == (kind, label)) for label in range(labels)])
        spread = max(1.4826 * np.median(np.abs(norms - np.median(norms))), 0.05)
        index = (np.median(norms) - norms) / spread
        scored += [(index[label], label) for label in range(labels)]
    return list(dict.fromkeys(label for _, label in sorted(scored, reverse=True)))[:3]


def main():
    folder, clean = sys.argv[1:]
    torch.manual_seed(1)
    torch.set_num_threads(os.cpu_count())
    data = read_safetensors(clean)
    images = torch.tensor(data['images']).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor(data['labels'].astype(np.int64))
    network = Network(folder)
    run = Run(network, images, labels)
    for weights in network.weights.values():
        weights.requires_grad_(False)
    screened = run.timed('screen', run.screen_all)
    run.timed('strengthen', lambda: run.compare(screened))
    chosen = suspects(screened, network.labels)
    found = run.timed('search', lambda: run.search(chosen[:1]))
    first = lambda label, kind: min((item for item in screened + found if item[:2] == (kind, label)), key=lambda item: item[3])
    strong = run.timed('strengthen', lambda: run.strengthen([first(label, kind) for label in chosen for kind in STARTS]))
    target = chosen[0]
    pool = [item for item in screened + found + strong if item[0] in STARTS and item[1] == target and item[4] >= 0.75]
    pool = pool or [first(target, kind) for kind in STARTS]
    pool += run.timed('staircase', lambda: run.staircase(max(pool, key=lambda item: item[4])))
    pool = pool[:16]
    grown = run.timed('strengthen', lambda: run.grow(pool, screened))
    victim = network.weights
    purified = run.timed('unlearn', lambda: run.unlearn(pool, grown))
    run.timed('unlearn', lambda: run.judge_cut(pool, grown, purified))
    network.weights = purified
    run.timed('unlearn', lambda: run.measure([item[:3] for item in pool]))
    run.timed('screen again', lambda: run.screen_all([target]))
    network.weights = victim
    run.timed('calibrate', lambda: run.calibrate(pool + grown, images, labels))
    print(json.dumps({'torch': torch.__version__, 'threads': torch.get_num_threads(), 'target': target, 'seconds': run.seconds}))


main()
