import { copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { GivenAttack } from '../../offline/attack/attack.ts';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import { loadVictim, saveVictim } from '../../offline/attack/victim-files.ts';
import { stampTest, type Victim } from '../../offline/attack/victim.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { encodeSafetensors } from '../../src/network/safetensors.ts';
import { testDirectory } from '../support/directory.ts';
import { stripes } from '../support/planted.ts';

beforeAll(openWasm);

const COMMON = { targetLabel: 1, poisonRate: 0.1, epochs: 1, seed: 4 };
const [train, fresh] = [stripes(128, 4, 'test/train'), stripes(40, 4, 'test/fresh')];
const make = (given: GivenAttack): Promise<Victim> => makeVictim(given, train, fresh, () => {});

async function saved(victim: Victim): Promise<string> {
  const directory = join(await testDirectory(), 'victim');
  expect(await saveVictim(directory, victim)).toMatchObject({ ok: true });
  return directory;
}

async function errorOf(directory: string): Promise<string> {
  const loaded = await loadVictim(directory);
  if (loaded.ok) throw new Error('expected a refusal');
  return loaded.error;
}

describe('a victim that is written and read again', () => {
  test.each<[string, GivenAttack]>([
    ['a clean control', { kind: 'none', epochs: 1, seed: 4 }],
    ['a patch at random places', { kind: 'badnets', patchSize: 3, place: 'random', ...COMMON }],
    ['a warp', { kind: 'wanet', grid: 4, strength: 1, noiseRatio: 1, ...COMMON }],
    ['an addition', { kind: 'signal', amplitude: 0.1, frequency: 2, ...COMMON }],
    [
      'a patch from every label to the next',
      { kind: 'badnets', patchSize: 3, ...COMMON, targets: { form: 'all-to-all' } },
    ],
    [
      'three blends for three labels',
      { kind: 'blended', alpha: 0.2, ...COMMON, targets: { form: 'several', furtherLabels: [3, 0] } },
    ],
  ])('is the same: %s', async (_, given) => {
    const victim = await make(given);
    const directory = await saved(victim);
    const loaded = await loadVictim(directory);
    expect(loaded).toEqual({ ok: true, value: victim });
    const files = await readdir(directory);
    expect(files.filter((name) => name.startsWith('trigger'))).toHaveLength(victim.triggers.length);
    for (const index of victim.triggers.keys()) {
      if (loaded.ok) expect(stampTest(loaded.value, fresh, index)).toEqual(stampTest(victim, fresh, index));
    }
  });

  test('stamps every image, and says which count and where the attacker wants them', async () => {
    const victim = await make({
      kind: 'badnets',
      patchSize: 3,
      ...COMMON,
      targets: { form: 'source', sourceLabel: 2 },
    });
    const { images, targets, eligible } = stampTest(victim, fresh);
    expect(images.labels).toEqual(fresh.labels);
    expect([...eligible]).toEqual([...fresh.labels.keys()].filter((index) => fresh.labels[index] === 2));
    expect([...targets]).toEqual(Array.from(fresh.labels, (label) => (label === 2 ? 1 : -1)));
    for (let image = 0; image < fresh.count; image++) {
      expect(images.images.subarray(image * 144, image * 144 + 144)).not.toEqual(
        fresh.images.subarray(image * 144, image * 144 + 144),
      );
    }
    expect(() => stampTest(victim, fresh, 1)).toThrow('the victim has no trigger 1');
    expect(() => stampTest(victim, { ...fresh, height: 24, count: 20 })).toThrow('another shape');
  });
});

describe('a damaged victim is refused in one sentence that names the file', () => {
  test('for its card', async () => {
    const victim = await make({ kind: 'blended', alpha: 0.2, ...COMMON });
    const directory = await saved(victim);
    const card = join(directory, 'card.json');
    const json = JSON.parse(await readFile(card, 'utf8')) as Record<string, unknown>;
    const write = (changed: unknown): Promise<void> => writeFile(card, JSON.stringify(changed));
    await write({ ...json, alpha: 3 });
    expect(await errorOf(directory)).toMatch(/card\.json: alpha: .*1$/);
    await write({ ...json, kind: 'magic' });
    expect(await errorOf(directory)).toMatch(/card\.json: kind: /);
    await write({ ...json, cleanAccuracy: undefined });
    expect(await errorOf(directory)).toMatch(/card\.json: cleanAccuracy: /);
    await write({ ...json, targets: { form: 'several', furtherLabels: [2] } });
    expect(await errorOf(directory)).toMatch(/trigger-2\.safetensors: no such file$/);
    await write({ ...json, kind: 'wanet', grid: 4, strength: 1, noiseRatio: 1 });
    expect(await errorOf(directory)).toMatch(/trigger\.safetensors: tensor "flow": expected F32 \[12,12,2\]/);
    await write({ ...json, kind: 'badnets', patchSize: 64, place: 'random' });
    expect(await errorOf(directory)).toMatch(/tensor "patch": expected at most 12 pixels a side, got 64$/);
    await writeFile(card, '{');
    expect(await errorOf(directory)).toMatch(/card\.json: /);
  });

  test('for its trigger, whichever bytes are changed or missing', async () => {
    const victim = await make({ kind: 'blended', alpha: 0.2, ...COMMON });
    const directory = await saved(victim);
    const file = join(directory, 'trigger.safetensors');
    const data = new Float32Array(144).fill(NaN);
    await writeFile(file, encodeSafetensors(new Map([['pattern', { dtype: 'F32', shape: [12, 12, 1], data }]])));
    expect(await errorOf(directory)).toBe(
      `${file}: tensor "pattern": expected F32 [12,12,1] of finite numbers, got F32 [12,12,1]`,
    );
    await saveVictim(join(directory, 'again'), victim);
    const bytes = await readFile(join(directory, 'again', 'trigger.safetensors'));
    const damaged = join(await testDirectory(), 'damaged');
    await mkdir(damaged);
    for (const name of ['card.json', 'network.json', 'weights.safetensors']) {
      await copyFile(join(directory, name), join(damaged, name));
    }
    await fc.assert(
      fc.asyncProperty(
        fc.nat(bytes.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, flip, cut) => {
          const changed = cut
            ? bytes.subarray(0, at)
            : Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ flip : byte));
          await writeFile(join(damaged, 'trigger.safetensors'), changed);
          const loaded = await loadVictim(damaged);
          if (loaded.ok) expect(cut).toBe(false);
          else expect(loaded.error).toContain('trigger.safetensors: ');
        },
      ),
      { numRuns: 60 },
    );
  });
});
