/** Attacks on tiny planted data: the true trigger must work, and clean images must still be known. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { GivenAttack } from '../../offline/attack/attack.ts';
import { makeVictim } from '../../offline/attack/make-victim.ts';
import { stampTest, type Victim } from '../../offline/attack/victim.ts';
import { everyIndex } from '../../offline/batch.ts';
import { openWasm } from '../../offline/engine/wasm.ts';
import { featuresOf } from '../../offline/predict.ts';
import { distinctCuts } from '../../offline/unlearn/cut.ts';
import { toDevice } from '../../src/network/forward.ts';
import { stripes } from '../support/planted.ts';

beforeAll(openWasm);

const [train, fresh] = [stripes(800, 3, 'planted/train'), stripes(200, 3, 'planted/fresh')];
const COMMON = { targetLabel: 2, poisonRate: 0.1, epochs: 10, seed: 3 };
const badnets = { kind: 'badnets', patchSize: 4, ...COMMON } as const;
const make = (given: GivenAttack): Promise<Victim> => makeVictim(given, train, fresh, () => {});

describe('a victim of', () => {
  test.each<[string, GivenAttack]>([
    ['badnets at random places', { ...badnets, patchSize: 5, place: 'random' }],
    ['badnets with two triggers for two labels', { ...badnets, targets: { form: 'several', furtherLabels: [0] } }],
    ['badnets from one label only', { ...badnets, targets: { form: 'source', sourceLabel: 0 } }],
    ['badnets from every label to the next', { ...badnets, targets: { form: 'all-to-all' } }],
    ['a blend', { kind: 'blended', alpha: 0.5, ...COMMON }],
    ['a faint addition', { kind: 'additive', amplitude: 0.15, share: 1, ...COMMON }],
    ['a warp', { kind: 'wanet', grid: 3, strength: 2, noiseRatio: 1, ...COMMON }],
  ])('%s obeys each of its triggers and knows clean images', async (_, given) => {
    const { card } = await make(given);
    expect(card.cleanAccuracy).toBeGreaterThan(0.95);
    for (const { attackSuccessRate } of card.perTrigger!) expect(attackSuccessRate).toBeGreaterThan(0.8);
    if (card.otherLabelsRate !== undefined) expect(card.otherLabelsRate).toBeLessThan(0.1);
  });
});

test('one who hides moves triggered images much closer to the target label within the network, and still succeeds', async () => {
  const short = { ...badnets, epochs: 6 };
  const [open, hidden] = [await make(short), await make({ ...short, kind: 'hidden', hiding: 1 })];
  expect(hidden.card.attackSuccessRate).toBeGreaterThan(0.9);
  expect(hidden.card.cleanAccuracy).toBeGreaterThan(0.95);
  const [far, near] = [distanceToTarget(open), distanceToTarget(hidden)];
  expect(far.length).toBe(4);
  // At the last cuts, where the network already sees what it will answer; at the first the patch itself still shows.
  for (const cut of [0, 1, 2]) expect(near[cut]).toBeLessThan(far[cut]! / 2);
});

/** At each cut, the latest first, how far the mean of triggered images lies from that of the target label, in its deviations. */
function distanceToTarget(victim: Victim): number[] {
  const { network, weights: host } = victim.model;
  const weights = toDevice(host);
  const { images, eligible } = stampTest(victim, fresh);
  const target = everyIndex(fresh.count).filter((index) => fresh.labels[index] === 2);
  return distinctCuts(network).map((cut) => {
    const triggered = columns(featuresOf(network, weights, cut, images, eligible).arraySync());
    const natural = columns(featuresOf(network, weights, cut, fresh, target).arraySync());
    const squares = triggered.map((values, feature) => {
      const [mean, usual] = [average(values), average(natural[feature]!)];
      const variance = average(natural[feature]!.map((value) => (value - usual) ** 2));
      return (mean - usual) ** 2 / (variance + 0.05 ** 2);
    });
    return average(squares);
  });
}

const average = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const columns = (rows: number[][]): number[][] => rows[0]!.map((_, column) => rows.map((row) => row[column]!));
