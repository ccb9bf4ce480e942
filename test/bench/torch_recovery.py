"""Recovery's stages of `purify` in PyTorch, with the sizes and steps of offline/recover/."""
import numpy as np
import torch
import torch.nn.functional as F

from torch_triggers import Estimator, Generator, norms_of, parts_of, size_of, stamp, warp

SCREEN_STEPS, SEARCH_STEPS, STRENGTHEN_STEPS, STAIRCASE_STEPS = 120, 150, 100, 60
STARTS = {'blend': (2, 4), 'additive': (1, 1)}
SHORT_STEPS, GROW_STEPS, KEPT, GROWTH = 40, 60, 3, (2, 3, 4, 6, 8)
COVERING_STEPS = {'dense': 80, 'smooth': 80, 'warp': 60}
LABELS_PER_JOB, PER_LABEL, MEASURED, DRAWS = 5, 8, 256, 8
FORMS = (*STARTS, *COVERING_STEPS)
POINTS, PIXELS_APART = {'smooth': 8, 'warp': 4}, 3
LAMBDA = {'blend': 0.02, 'additive': 0.05}


class Recovery:
    def __init__(self, network, split):
        self.network, self.split, self.shape = network, split, split.shape

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
            images = torch.cat([self.split.draw(label, PER_LABEL) for label in labels])
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
            images = torch.cat([self.split.draw(label, PER_LABEL) for label in labels])
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
            others = self.split.held[:MEASURED][self.split.held_labels[:MEASURED] != label]
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
                images = torch.cat([self.split.draw(trigger[1], PER_LABEL) for trigger in own])
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
                images, noise, other = self.split.draw(label, 32), torch.rand(32, 64), torch.rand(32, 64)
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


def suspects(screened, labels):
    """The three labels with the strongest outliers of any form."""
    scored = []
    for kind in STARTS:
        norms = np.log([min(item[3] for item in screened if item[:2] == (kind, label)) for label in range(labels)])
        spread = max(1.4826 * np.median(np.abs(norms - np.median(norms))), 0.05)
        index = (np.median(norms) - norms) / spread
        scored += [(index[label], label) for label in range(labels)]
    return list(dict.fromkeys(label for _, label in sorted(scored, reverse=True)))[:3]
