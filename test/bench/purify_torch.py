"""The work of `purify` in PyTorch, for its time only: the same stages, sizes and steps as in offline/, on the same model and images.

Usage: python3 purify_torch.py FOLDER CLEAN.safetensors, where FOLDER holds network.json and weights.safetensors without batch norm.
Prints one JSON document with the seconds of each stage. Grading is left out: the label with the smallest trigger is unlearned.
"""
import json
import os
import sys
import time

import numpy as np
import torch

from torch_data import Split, read_safetensors
from torch_network import Network
from torch_recovery import STARTS, Recovery, suspects
from torch_unlearning import Unlearning


def main():
    folder, clean = sys.argv[1:]
    torch.manual_seed(1)
    torch.set_num_threads(os.cpu_count())
    data = read_safetensors(clean)
    images = torch.tensor(data['images']).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor(data['labels'].astype(np.int64))
    network = Network(folder)
    split = Split(images, labels)
    recovery, unlearning, seconds = Recovery(network, split), Unlearning(network, split), {}

    def timed(stage, work):
        began = time.time()
        value = work()
        seconds[stage] = seconds.get(stage, 0) + time.time() - began
        return value

    for weights in network.weights.values():
        weights.requires_grad_(False)
    screened = timed('screen', recovery.screen_all)
    timed('strengthen', lambda: recovery.compare(screened))
    chosen = suspects(screened, network.labels)
    found = timed('search', lambda: recovery.search(chosen[:1]))
    first = lambda label, kind: min((item for item in screened + found if item[:2] == (kind, label)), key=lambda item: item[3])
    strong = timed('strengthen', lambda: recovery.strengthen([first(label, kind) for label in chosen for kind in STARTS]))
    target = chosen[0]
    pool = [item for item in screened + found + strong if item[0] in STARTS and item[1] == target and item[4] >= 0.75]
    pool = pool or [first(target, kind) for kind in STARTS]
    pool += timed('staircase', lambda: recovery.staircase(max(pool, key=lambda item: item[4])))
    pool = pool[:16]
    grown = timed('strengthen', lambda: recovery.grow(pool, screened))
    victim = network.weights
    purified = timed('unlearn', lambda: unlearning.unlearn(pool, grown))
    timed('unlearn', lambda: unlearning.judge_cut(pool, grown, purified))
    network.weights = purified
    timed('unlearn', lambda: recovery.measure([item[:3] for item in pool]))
    timed('screen again', lambda: recovery.screen_all([target]))
    network.weights = victim
    timed('calibrate', lambda: unlearning.calibrate(pool + grown, images, labels))
    print(json.dumps({'torch': torch.__version__, 'threads': torch.get_num_threads(), 'target': target, 'seconds': seconds}))


main()
