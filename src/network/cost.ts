/** What a network costs to run: parameters and multiply-accumulates of its layers, and the memory of an isolate that serves it. */
import { cutCandidates, guardNodes, headLayers } from './cuts.ts';
import { IMAGES, nodeShapes, weightShapes, type Layer, type Network, type Shape } from './network.ts';

/** `output` is a shape without the batch axis; `macs` are those of convolutions and dense layers for one image, other layers have none. */
export type LayerCost = { name: string; type: Layer['type']; output: Shape; parameters: number; macs: number };

/** A node where a network can be parted, and the memory of an isolate that then serves it. */
export type CutCost = { cut: string; memoryBytes: number };

/** What Cloudflare gives an isolate. */
export const ISOLATE_LIMIT_BYTES = 128_000_000;

/** How many times the heap holds a kernel: as it was given and packed for XNNPACK, a filter also transposed between. */
const COPIES = { conv2d: 3, dense: 2 };
const ACTIVATION_SHARE = 1.4;
const HEAP_BASE_BYTES = 900_000;
const HEAP_START_BYTES = 16_777_216;
/** The heap grows by at least a fifth, so that up to a fifth of it lies idle. */
const HEAP_SLACK = 1.1;
const PROGRAM_BYTES = 8_000_000;
const FLOAT_BYTES = 4;

const product = (shape: Shape): number => shape.reduce((total, axis) => total * axis, 1);

/** The cost of every layer, in order. */
export function layerCosts(network: Network): LayerCost[] {
  const shapes = shapesOf(network);
  const parameters = parameterCounts(network);
  return network.layers.map((item) => {
    const { name, type } = item;
    return { name, type, output: shapes.get(name)!, parameters: parameters.get(name) ?? 0, macs: macsOf(item, shapes) };
  });
}

/**
 * The nodes where a network can be parted so that weights lie behind, with the memory in bytes of an isolate that serves such a release.
 * The network's batch norms are folded; one image at a time. It is the sum of the program (8 MB), the release as read from R2, and
 * the WASM heap. There the kernels of the network and of the quarantined head take three times their size (dense ones two times),
 * activations 1.4 times the most that live at once, and the backend 0.9 MB. Fitted to the heap after an inference with a match, as
 * workers/wasm.ts sets it up, of ResNet-8, -10 and -18, WideResNet-16, VGGs of 13 and 35 MB, a network of mostly dense weights, and
 * MobileNetV2, at 32 and 224 pixels, from 25 to 370 MB: off by at most 7 %, most of it from how far the heap happens to grow.
 */
export function cutCosts(network: Network): CutCost[] {
  const parameters = parameterCounts(network);
  const activationBytes = ACTIVATION_SHARE * peakActivationBytes(network);
  return cutCandidates(network).flatMap((cut) => {
    const head = headLayers(network, cut);
    if (!head.some(({ name }) => parameters.has(name))) return [];
    let releaseBytes = 0;
    let heapBytes = HEAP_BASE_BYTES + activationBytes;
    for (const { name, type } of [...network.layers, ...head]) {
      const bytes = FLOAT_BYTES * (parameters.get(name) ?? 0);
      releaseBytes += bytes;
      heapBytes += bytes * (type === 'conv2d' || type === 'dense' ? COPIES[type] : 1);
    }
    const memoryBytes = PROGRAM_BYTES + releaseBytes + Math.max(HEAP_START_BYTES, HEAP_SLACK * heapBytes);
    return [{ cut, memoryBytes: Math.round(memoryBytes) }];
  });
}

/** What a guard computes of the victim behind the cut, as a share of the multiply-accumulates of a forward pass. */
export function guardShare(network: Network, cut: string): number {
  const macsBehind = (node: string): number => {
    const head = new Set(headLayers(network, node).map(({ name }) => name));
    return costs.reduce((sum, { name, macs }) => sum + (head.has(name) ? macs : 0), 0);
  };
  const costs = layerCosts(network);
  const total = costs.reduce((sum, { macs }) => sum + macs, 0);
  return (macsBehind(cut) - macsBehind(guardNodes(network, cut).at(-1)!)) / total;
}

function macsOf(item: Layer, shapes: ReadonlyMap<string, Shape>): number {
  const channels = shapes.get(item.inputs[0]!)!.at(-1)!;
  if (item.type === 'dense') return channels * item.units;
  if (item.type !== 'conv2d') return 0;
  return product(shapes.get(item.name)!) * product(item.kernelSize) * (channels / item.groups);
}

/** The number of weights of every layer that has any. */
function parameterCounts(network: Network): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [weight, shape] of weightShapes(network)) {
    const layer = weight.slice(0, weight.lastIndexOf('/'));
    counts.set(layer, (counts.get(layer) ?? 0) + product(shape));
  }
  return counts;
}

/** The most bytes of activations of one image that live at once, each from its layer to its last use. */
function peakActivationBytes(network: Network): number {
  const { layers } = network;
  const shapes = shapesOf(network);
  const bytesOf = (name: string): number => FLOAT_BYTES * product(shapes.get(name)!);
  const lastUse = new Map(layers.flatMap(({ inputs }, index) => inputs.map((input) => [input, index] as const)));
  let live = 0;
  let peak = 0;
  layers.forEach(({ name, inputs }, index) => {
    live += bytesOf(name);
    peak = Math.max(peak, live);
    for (const input of new Set(inputs)) if (lastUse.get(input) === index && input !== IMAGES) live -= bytesOf(input);
  });
  return peak + bytesOf(IMAGES);
}

function shapesOf(network: Network): Map<string, Shape> {
  const shapes = nodeShapes(network);
  if (!shapes.ok) throw new Error(shapes.error);
  return shapes.value;
}
