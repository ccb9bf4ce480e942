/** ResNet-18 in its form for CIFAR (He et al. 2016, with a first convolution of 3x3 and no first pooling), with random weights. */
import { parseNetwork, weightShapes, type Layer } from '../../src/network/network.ts';
import type { HostTensor } from '../../src/network/safetensors.ts';
import { randomSource } from '../engine/random.ts';
import type { Model } from '../model.ts';

const BLOCKS_A_STAGE = 2;

/** ResNet-18 for images [B,32,32,3]: `width` filters in the first of four stages, twice as many in each next one. */
export function resnet18({ width, labels, seed }: { width: number; labels: number; seed: number }): Model {
  const layers: Layer[] = [];
  const add = (layer: Layer): string => {
    layers.push(layer);
    return layer.name;
  };
  const convolution = (name: string, input: string, filters: number, kernel: number, stride: number): string => {
    const fixed = { dilations: [1, 1] as [number, number], groups: 1, bias: false };
    const side = (kernel - 1) / 2;
    const padding = { top: side, bottom: side, left: side, right: side };
    const kernelSize: [number, number] = [kernel, kernel];
    const strides: [number, number] = [stride, stride];
    const type = 'conv2d';
    const conv = add({ type, name: `${name}/conv`, inputs: [input], filters, kernelSize, strides, padding, ...fixed });
    return add({ type: 'batchNorm', name: `${name}/norm`, inputs: [conv], epsilon: 1e-5 });
  };
  const relu = (name: string, input: string): string => add({ type: 'relu', name: `${name}/relu`, inputs: [input] });

  let x = relu('stem', convolution('stem', 'images', width, 3, 1));
  for (let stage = 1, filters = width; stage <= 4; stage++, filters *= 2) {
    for (let block = 1; block <= BLOCKS_A_STAGE; block++) {
      const name = `stage${stage}/block${block}`;
      const stride = stage > 1 && block === 1 ? 2 : 1;
      const first = relu(`${name}/first`, convolution(`${name}/first`, x, filters, 3, stride));
      const second = convolution(`${name}/second`, first, filters, 3, 1);
      const short = stride === 1 ? x : convolution(`${name}/short`, x, filters, 1, stride);
      x = relu(name, add({ type: 'add', name: `${name}/add`, inputs: [second, short] }));
    }
  }
  const pooled = add({ type: 'globalAveragePool', name: 'pool', inputs: [x] });
  const output = add({ type: 'dense', name: 'logits', inputs: [pooled], units: labels, bias: true });
  const labelNames = Array.from({ length: labels }, (_, label) => `${label}`);
  const input = { height: 32, width: 32, channels: 3 };
  const network = parseNetwork({ schemaVersion: 1, input, labelNames, layers, output });
  if (!network.ok) throw new Error(network.error);
  return { network: network.value, weights: randomWeights(network.value, seed) };
}

/** Kernels as He et al. 2015 draw them (uniform), batch norms that change little. */
function randomWeights(network: Model['network'], seed: number): Map<string, HostTensor> {
  const random = randomSource(seed, 'bench/resnet');
  return new Map(
    [...weightShapes(network)].map(([name, shape]): [string, HostTensor] => {
      const count = shape.reduce((total, size) => total * size, 1);
      const fanIn = shape.slice(0, -1).reduce((total, size) => total * size, 1);
      const data = random.uniform(count);
      const [spread, centre] = name.endsWith('/kernel')
        ? [Math.sqrt(6 / fanIn), 0]
        : [0.1, /\/(gamma|variance)$/.test(name) ? 1 : 0];
      for (let index = 0; index < count; index++) data[index] = centre + spread * (2 * data[index]! - 1);
      return [name, { dtype: 'F32', shape, data }];
    }),
  );
}
