/**
 * What is natural of a label: the reference, which nobody can have planted anything in, has small triggers too, and they are weighed like the model's own, against a
 * second reference. A label that any bright rectangle resembles is as strong there. A planted one is stronger than there, and its trigger carries the reference less
 * far than a natural trigger of that label carries the second.
 */
import { digestDataset } from './data/dataset.ts';
import { runJobs } from './engine/pool.ts';
import { weighTriggers, type Evidence } from './grade.ts';
import type { Model } from './model.ts';
import type { Report } from './progress.ts';
import type { ReferenceInput } from './recover/reference.ts';
import { screenSmall, type Recovery } from './recover/screening.ts';
import { smallestOfForm, strengthenPools } from './recover/strengthening.ts';

const STEPS = 250;
/** Added to the seed of the second reference, so that it learns from other draws. */
const SECOND_SEED = 777;
const REFERENCE = new URL('./recover/reference.ts', import.meta.url);

/** References of this process: several models are often scanned with the same images. */
const references = new Map<string, Model>();

/** The network that never saw a trigger. */
export async function trainReference({ network, split, seed, engine }: Recovery): Promise<Model> {
  const key = [digestDataset(split.learn), network.labelNames.length, seed, engine.kind].join();
  const known = references.get(key);
  if (known) return known;
  const input: ReferenceInput = { images: split.learn, labelNames: network.labelNames, steps: STEPS, seed };
  const [reference] = await runJobs<ReferenceInput, Model>(REFERENCE, [input], { threads: 1, engine: engine.kind });
  references.set(key, reference!);
  return reference!;
}

/** The evidence of the reference's own smallest triggers for some labels. */
export async function weighNatural(
  recovery: Recovery,
  reference: Model,
  labels: readonly number[],
  report: Report,
): Promise<Map<number, Evidence>> {
  const own: Recovery = { ...recovery, ...reference };
  const [screened, second] = await Promise.all([
    screenSmall(own, labels, report),
    trainReference({ ...recovery, seed: recovery.seed + SECOND_SEED }),
  ]);
  const pools = Map.groupBy(
    screened.toSorted((a, b) => a.norm - b.norm),
    ({ trigger }) => trigger.targetLabel,
  );
  const strengthened = await strengthenPools(own, pools, report);
  return weighTriggers(own, second, [...strengthened, ...smallestOfForm(pools)]);
}
