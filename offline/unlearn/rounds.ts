/**
 * Unlearning in rounds: the recovered triggers of few images, or of few pixels, may leave out a part of what was planted. Then a recovery with a new seed finds
 * the trigger again, and what it found is unlearned too, from the victim's weights on. After adversarial training against universal perturbations
 * (Shafahi et al., arXiv 1811.11304), which finds and learns by turns; here a turn is a whole recovery and a whole unlearning.
 * Nothing is ever unlearned from the last recovery: it is the proof that nothing is left.
 */
import type { FreshRecovery } from '../../src/release/gate.ts';
import type { Progress } from '../progress.ts';
import { freshEvidence, lingeringTriggers } from '../recover/fresh.ts';
import { labelHitRates } from '../recover/measure.ts';
import { hasNoise, measureNoise } from '../recover/noise.ts';
import { screenAll, type Screening } from '../recover/screening.ts';
import type { Recovered } from '../recovered.ts';
import type { LabelScreening } from '../scan.ts';
import { chooseCut, cutsToTry, unlearn, type CutInput, type CutTrial } from './cut.ts';

const ROUNDS = 2;
/** Added to the seed, once a round, of the recovery from a purified model, so that it starts from other points. */
const FRESH_SEED = 1_000_003;

/** A purified model; `fresh` are its screenings with a new seed, `found` is what they say of each unlearned label. */
export type Forgotten = Pick<CutTrial, 'cut' | 'weights' | 'tradeOff' | 'hitRates'> & {
  fresh: Screening[];
  found: FreshRecovery[];
};

/**
 * Unlearns pools, and once more with what a fresh recovery finds if that is a trigger of theirs again. `screened` is what the victim's labels are triggered by.
 * The second round begins with the cut that held in the first: behind one that did not hold, more to unlearn will not.
 */
export async function unlearnInRounds(
  { measured, input }: Recovered,
  screened: readonly Pick<LabelScreening, 'form' | 'norms'>[],
  method: 'late' | 'ascent',
  progress: Progress,
): Promise<Forgotten> {
  let cuts = cutsToTry(input.network, input.extent);
  let lingering: CutInput['lingering'] = [];
  for (let round = 1; ; round++) {
    const unlearned = await unlearnOnce({ ...input, cuts, lingering }, method, progress);
    const again = { ...input, weights: unlearned.weights, seed: input.seed + round * FRESH_SEED };
    const fresh = await progress.stage('screen', 'all labels once more, with a new seed', (report) =>
      screenAll(again, report, [...measured.keys()]),
    );
    const noise = hasNoise(measured) ? await measureNoise(again, screened) : null;
    const triggers = [...fresh.flatMap(({ labels }) => labels), ...(noise?.triggers ?? [])];
    const found = freshEvidence(measured, triggers, screened);
    lingering = lingeringTriggers(measured, triggers, found);
    if (!lingering.length || round === ROUNDS) return { ...unlearned, fresh, found };
    cuts = cuts.slice(cuts.indexOf(unlearned.cut));
  }
}

async function unlearnOnce(
  input: CutInput,
  method: 'late' | 'ascent',
  progress: Progress,
): Promise<Omit<Forgotten, 'fresh' | 'found'>> {
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
