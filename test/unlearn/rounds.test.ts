import { beforeAll, expect, test } from 'vitest';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { evaluate } from '../../offline/evaluate.ts';
import type { Progress } from '../../offline/progress.ts';
import { splitClean } from '../../offline/recover/screening.ts';
import type { Recovered } from '../../offline/recovered.ts';
import { unlearnInRounds } from '../../offline/unlearn/rounds.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { stampPixels, type Trigger } from '../../src/trigger/trigger.ts';
import { plantBackdoor } from '../support/planted.ts';

let engine: Engine;
beforeAll(async () => {
  const opened = await openEngine('wasm');
  if (!opened.ok) throw new Error(opened.error);
  engine = opened.value;
});

/** The stages that work went through. */
function noting(stages: string[]): Progress {
  return {
    stage: (name, label, work) => {
      stages.push(`${name} ${label}`);
      return work(() => {});
    },
  };
}

/** A victim of which the planted patch was recovered too faint, `norm` in size, as it is told; those of the other labels are thousands in size. */
async function recoverFaint(seed: number, norm: number) {
  const { model, clean, fresh, trueTrigger } = await plantBackdoor(seed);
  if (trueTrigger.kind !== 'blend') throw new Error('expected a patch');
  const { targetLabel } = trueTrigger;
  const faint: Trigger = { ...trueTrigger, mask: trueTrigger.mask.map((opacity) => 0.6 * opacity) };
  const recovery = { ...model, split: splitClean(clean, seed), seed, engine };
  const recovered: Recovered = {
    measured: new Map([[targetLabel, [{ form: 'blend', trigger: faint, norm, hitRate: 1 }]]]),
    input: { ...recovery, pools: [[faint]], grown: [], faded: [], extent: 'one place' },
  };
  const screened = [{ form: 'blend' as const, norms: model.network.labelNames.map((_, label) => 5000 + 500 * label) }];
  const triggered = { images: { ...fresh, images: stampPixels(fresh.images, trueTrigger) }, targetLabel };
  const evaluated = (weights: HostWeights) => evaluate({ network: model.network, weights }, fresh, triggered);
  return { recovered, screened, evaluated, weights: model.weights };
}

const CHOOSING = 'unlearn choosing the cut';
const SCREENING = 'screen all labels once more, with a new seed';

test.each([1, 2, 3])(
  'what a fresh recovery finds again is unlearned with the rest, and the proof is another recovery (seed %i)',
  async (seed) => {
    const { recovered, screened, evaluated, weights } = await recoverFaint(seed, 1000);
    const stages: string[] = [];
    const forgotten = await unlearnInRounds(recovered, screened, 'late', noting(stages));
    expect(stages).toEqual([CHOOSING, SCREENING, `${CHOOSING}, with what a fresh recovery found`, SCREENING]);
    const [before, after] = [await evaluated(weights), await evaluated(forgotten.weights)];
    expect(before.attackSuccessRate).toBeGreaterThan(0.9);
    expect(after.attackSuccessRate).toBeLessThan(0.2);
    expect(after.cleanAccuracy).toBeGreaterThan(before.cleanAccuracy - 0.02);
  },
  120_000,
);

test('one round is all if a fresh recovery finds no trigger as small as the victim’s', async () => {
  const { recovered, screened } = await recoverFaint(1, 1);
  const stages: string[] = [];
  const { found } = await unlearnInRounds(recovered, screened, 'late', noting(stages));
  expect(stages).toEqual([CHOOSING, SCREENING]);
  expect(found).toEqual([expect.objectContaining({ targetLabel: 1, found: false })]);
}, 120_000);
