import { expect, test } from 'vitest';
import type { ReleaseContent } from '../../src/release/release.ts';
import { trunkDigest } from '../../src/release/trunk.ts';
import { testContent } from '../support/release.ts';

const content = testContent();
const digestOf = (edit: (content: ReleaseContent) => ReleaseContent): Promise<string> =>
  trunkDigest(edit(content), crypto.subtle);
const same = await digestOf((given) => given);

/** The content with the first value of one weight changed, of the purified network or of the victim's head. */
const withWeight =
  (name: string, of: 'weights' | 'victimHead' = 'weights') =>
  (given: ReleaseContent): ReleaseContent => {
    const tensor = given[of].get(name)!;
    const data = Float32Array.from(tensor.data, (value, index) => (index === 0 ? value + 1 : value));
    return { ...given, [of]: new Map(given[of]).set(name, { dtype: 'F32', shape: tensor.shape, data }) };
  };

test('another head and another fingerprint leave the trunk what it is', async () => {
  expect(same).toMatch(/^[0-9a-f]{64}$/);
  expect(await digestOf(withWeight('stage2/conv/kernel'))).toBe(same);
  expect(await digestOf(withWeight('logits/bias'))).toBe(same);
  expect(await digestOf(withWeight('logits/bias', 'victimHead'))).toBe(same);
  expect(await digestOf((given) => ({ ...given, guard: testContent(2).guard }))).toBe(same);
});

test('another weight before the cut or of what the guard watches behind it, another cut and another layer before it make another trunk', async () => {
  const { manifest } = content;
  const layers = manifest.network.layers.map((item) => (item.type === 'normalize' ? { ...item, mean: [0.4] } : item));
  const others = await Promise.all([
    digestOf(withWeight('stage1/conv/bias')),
    digestOf(withWeight('stage2/conv/kernel', 'victimHead')),
    digestOf((given) => ({ ...given, manifest: { ...manifest, cut: 'stage1/conv' } })),
    digestOf((given) => ({ ...given, manifest: { ...manifest, network: { ...manifest.network, layers } } })),
  ]);
  expect(new Set([same, ...others]).size).toBe(5);
});
