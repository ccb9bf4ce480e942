import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { initialWeights } from '../../offline/attack/initial-weights.ts';
import { ARCHITECTURES, buildNetwork, type Architecture } from '../../offline/attack/networks.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { forward, toDevice } from '../../src/network/forward.ts';
import { IMAGES, parseNetwork, weightShapes } from '../../src/network/network.ts';

beforeAll(openWasm);

const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'];

function parameters(architecture: Architecture): number {
  const network = buildNetwork(architecture, { height: 32, width: 32, channels: 3 }, names);
  return [...weightShapes(network)]
    .filter(([name]) => !/\/(mean|variance)$/.test(name))
    .reduce((total, [, shape]) => total + shape.reduce((product, axis) => product * axis, 1), 0);
}

describe('the architectures', () => {
  test.each(ARCHITECTURES)('%s is a valid network for the smallest and for odd images, grey or in colour', (name) => {
    for (const [height, width, channels] of [
      [8, 8, 1],
      [11, 9, 3],
      [28, 28, 1],
    ] as const) {
      const network = buildNetwork(name, { height, width, channels }, names);
      expect(parseNetwork(JSON.parse(JSON.stringify(network)))).toEqual({ ok: true, value: network });
    }
  });

  test('have the parameters that their papers and published implementations count', () => {
    expect(parameters('resnet18')).toBe(11_173_962);
    // The published 11,171,146 have no last batch norm, of two parameters for each of 512 channels.
    expect(parameters('preact-resnet18')).toBe(11_171_146 + 2 * 512);
    expect(Math.round(parameters('wrn-16-1') / 1e4) / 100).toBeCloseTo(0.18, 1);
    expect(parameters('resnet8')).toBe(78_042);
    // 307,498 with biases where these have batch norms: 448 channels with one parameter more each.
    expect(parameters('small-vgg')).toBe(307_498 + 2 * (32 + 64 + 128));
  });

  test.each(['resnet8', 'wrn-16-1', 'small-vgg'] as const)(
    '%s answers random images with finite, different logits',
    (name) => {
      const network = buildNetwork(name, { height: 8, width: 8, channels: 3 }, names);
      const images = tf.randomUniform([4, 8, 8, 3], 0, 1, 'float32', 5);
      const feeds = new Map([[IMAGES, images]]);
      const [logits] = forward(network, toDevice(initialWeights(network, 2)), feeds, [network.output]);
      const values = [...logits!.dataSync()];
      expect(values.every(Number.isFinite)).toBe(true);
      expect(new Set(values).size).toBe(40);
    },
  );
});
