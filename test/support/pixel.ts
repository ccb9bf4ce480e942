import type { Dataset } from '../../offline/data/dataset.ts';
import type { Network } from '../../src/network/network.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

const SHAPE = { height: 1, width: 1, channels: 1 };

/** A network that tells dark images of one pixel from bright ones: the pixel as it is (`flat`), these layers, the last of which is `logits`. */
export const pixelNetwork = (...layers: Network['layers']): Network => ({
  schemaVersion: 1,
  input: SHAPE,
  labelNames: ['dark', 'bright'],
  layers: [{ type: 'flatten', name: 'flat', inputs: ['images'] }, ...layers],
  output: 'logits',
});

/** Images of one pixel each, the dark ones first. */
export function pixelImages(dark: readonly number[], bright: readonly number[]): Dataset {
  const labels = Int32Array.from([...dark.map(() => 0), ...bright.map(() => 1)]);
  return { ...SHAPE, images: Uint8Array.from([...dark, ...bright]), count: labels.length, labels, labelNames: null };
}

/** Asks for "bright" by adding half of the largest brightness. */
export const HALF_BRIGHTER: Trigger = {
  kind: 'additive',
  targetLabel: 1,
  ...SHAPE,
  pattern: Float32Array.of(0.5),
};
