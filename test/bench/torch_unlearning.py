"""Unlearning's stages of `purify` in PyTorch, with the sizes and steps of offline/unlearn/, and the probes of offline/calibrate.ts."""
import math

import torch
import torch.nn.functional as F

from torch_triggers import parts_of, stamp

LATE_STEPS, PROBE_STEPS = 400, 180
BATCH, GROUPS, GROUP, FOLDS = 64, 256, 16, 5
HEADS, TRIAL, WATCH_STEPS, TRIED, HELD_BACK_STAMPED = 2, 512, 50, 16, 64


class Unlearning:
    def __init__(self, network, split):
        self.network, self.split = network, split

    def unlearn(self, pool, grown):
        """Late unlearning behind the last cut: the mean of heads that learned from other draws, of which nothing is given back."""
        triggers = pool + grown
        learned = [self.unlearn_head(pool, triggers) for _ in range(HEADS)]
        mean = {name: torch.stack([head[name] for head in learned]).mean(0) for name in learned[0]}
        clean, stamped = self.see_held_back(triggers)
        # Restoring asks for both, and giving back for what it costs.
        for rows in [clean, stamped, clean]:
            self.answer(rows, mean)
        return {**self.network.weights, **mean}

    def see(self, triggers):
        """What the trunk makes of views and of their triggered copies, the victim's answers, and the labels that triggers ask for unearned."""
        network, rows = self.network, []
        cut, labels = network.cut(), network.labels
        with torch.no_grad():
            for _ in range(GROUPS):
                images, shown = self.view(GROUP)
                kind, label, raw, *_ = triggers[torch.randint(len(triggers), (1,)).item()]
                clean, logits = network.run(images, [cut, network.output])
                (triggered,) = network.run(stamp(images, *parts_of(raw[None], kind, self.split.shape)), [cut])
                unearned = torch.zeros(GROUP, labels)
                unearned[:, label] = (shown != label).all(0).float()
                rows.append((clean, triggered, logits.softmax(1), unearned))
        return [torch.cat(part) for part in zip(*rows)]

    def view(self, count):
        """Random images moved together by up to two pixels and mirrored together, with a rectangle of others in them; and what of both is seen."""
        flip, shifts = torch.randint(2, (1,)).item(), [torch.randint(-2, 3, (2,)).tolist() for _ in range(2)]
        learn, labels = self.split.learn, self.split.learn_labels
        chosen, others = torch.randint(len(learn), (2, count))
        move = lambda index, shift: torch.roll(learn[index].flip(3) if flip else learn[index], tuple(shift), (2, 3))
        images, covering = move(chosen, shifts[0]), move(others, shifts[1])
        _, height, width = self.split.shape
        side = math.sqrt(0.5 * torch.rand(1).item())
        tall, wide = int(side * height), int(side * width)
        top, left = (torch.randint(size - part + 1, (1,)).item() for size, part in ((height, tall), (width, wide)))
        mask = torch.zeros(1, 1, height, width)
        mask[:, :, top : top + tall, left : left + wide] = 1
        seen = [labels[chosen]] + ([labels[others]] if side**2 >= 0.25 else [])
        return images * (1 - mask) + covering * mask, torch.stack(seen)

    def unlearn_head(self, pool, triggers):
        """The last layer's weights when they have unlearned."""
        clean, triggered, answers, unearned = self.see(triggers)
        head = {name: self.network.weights[name].clone().requires_grad_() for name in self.network.head()}
        watched = self.watched(pool)
        network, cut = self.network, self.network.cut()
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
            if step % WATCH_STEPS == WATCH_STEPS - 1:
                for rows in watched:
                    self.answer(rows, head)
        return {name: value.detach().clone() for name, value in head.items()}

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
        images = self.split.held[:100]
        return [self.enter(some) for some in [images, *self.stamped(images, pool[:4])]]

    @torch.no_grad()
    def see_held_back(self, triggers):
        """What enters the head of all held-back images, and of some stamped with the triggers."""
        stamped = self.stamped(self.split.held[:HELD_BACK_STAMPED], triggers[:TRIED])
        return self.enter(self.split.held), torch.cat([self.enter(some) for some in stamped])

    def stamped(self, images, triggers):
        return [stamp(images, *parts_of(raw[None], kind, self.split.shape)) for kind, _, raw, *_ in triggers]

    def enter(self, images):
        return torch.cat([self.network.run(part, [self.network.cut()])[0] for part in images.split(128)])

    @torch.no_grad()
    def answer(self, rows, head):
        weights = {**self.network.weights, **head}
        return torch.cat([self.network.run(part, [self.network.output], self.network.cut(), weights)[0] for part in rows.split(128)])

    def judge_cut(self, pool, grown, purified):
        """What a cut is judged by: how it answers, and whether probes fitted to every other trigger know the rest."""
        network, split = self.network, self.split
        with torch.no_grad():
            for part in split.held.split(128):
                network.run(part, [network.output])
                network.run(part, [network.output], weights=purified)
        self.calibrate((pool + grown)[::2], split.learn[:TRIAL], split.learn_labels[:TRIAL])
        with torch.no_grad():
            for some in self.stamped(split.held[:128], grown or pool):
                self.enter(some)

    def calibrate(self, pool, images, labels):
        """Cross-fitted probes on the activations that enter the head."""
        with torch.no_grad():
            clean = self.enter(images)
            others = images[labels != pool[0][1]]
            others = others if len(others) >= 1500 else torch.cat([others, others])
            stamped = [others[index :: len(pool)] for index in range(len(pool))]
            stamped = [self.stamped(own, [item])[0] for own, item in zip(stamped, pool) if len(own)]
            stamped = torch.cat([self.enter(some) for some in stamped])
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
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, 2 * (1 - step / PROBE_STEPS)))
        for _ in range(PROBE_STEPS):
            raw = weight * scale
            low, high = (features @ raw.T + bias - (raw * mean).sum(1)).split([len(clean), len(stamped)])
            loss = (F.softplus(low) * negative / negative.sum(0)).sum() + (F.softplus(-high) * positive / positive.sum(0)).sum()
            optimizer.zero_grad()
            (loss + 1e-2 * (weight**2).sum()).backward()
            optimizer.step()
            rate.step()
