/**
 * Unlearning in rounds: the recovered triggers of few images, or of few pixels, may leave out a part of what was planted. Then a recovery with a new seed finds
 * that the label is still easier to trigger than others, and what it found is unlearned too, from the victim's weights on. After adversarial training
 * against universal perturbations (Shafahi et al., arXiv 1811.11304), which finds and learns by turns; here a turn is a whole recovery and a whole unlearning.
 * Nothing is ever unlearned from the last recovery: it is the proof that nothing is left.
 */
import type { Progress } from '../progress.ts';
import { lingeringTriggers } from '../recover/fresh.ts';
import { labelHitRates } from '../recover/measure.ts';
import { screenAll, type Screening } from '../recover/screening.ts';
import { chooseCut, unlearn, type CutInput, type CutTrial, type UnlearnInput } from './cut.ts';

const ROUNDS = 2;
/** Added to the seed, once a round, of the recovery from a purified model, so that it starts from other points. */
const FRESH_SEED = 1_000_003;

/** A purified model; `fresh` are its screenings with a new seed. */
export type Forgotten = Pick<CutTrial, 'cut' | 'weights' | 'tradeOff' | 'hitRates'> & { fresh: Screening[] };

/** Unlearns pools, and once more with what a fresh recovery finds if that makes one of their labels stand out. */
export async function unlearnInRounds(
  input: UnlearnInput,
  method: 'late' | 'ascent',
  progress: Progress,
): Promise<Forgotten> {
  const labels = input.pools.map((pool) => pool[0]!.targetLabel);
  for (let round = 1, lingering: CutInput['lingering'] = []; ; round++) {
    const unlearned = await unlearnOnce({ ...input, lingering }, method, progress);
    const again = { ...input, weights: unlearned.weights, seed: input.seed + round * FRESH_SEED };
    const fresh = await progress.stage('screen', 'all labels once more, with a new seed', (report) =>
      screenAll(again, report, labels),
    );
    lingering = lingeringTriggers(fresh, labels);
    if (!lingering.length || round === ROUNDS) return { ...unlearned, fresh };
  }
}

async function unlearnOnce(
  input: CutInput,
  method: 'late' | 'ascent',
  progress: Progress,
): Promise<Omit<Forgotten, 'fresh'>> {
  const also = input.lingering.length ? ', with what a fresh recovery found' : '';
  const trial = await progress.stage('unlearn', `choosing the cut${also}`, (report) => chooseCut(input, report));
  if (method === 'late') return trial;
  const { cut } = trial;
  return progress.stage('unlearn', `gradient ascent on all layers${also}`, async (report) => {
    const unlearned = await unlearn(input, 'ascent', cut, report);
    const model = { ...input, weights: unlearned.weights };
    return { ...unlearned, cut, hitRates: await labelHitRates(model, input.split.heldBack, input.pools.flat()) };
  });
}
