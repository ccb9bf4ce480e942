/** How well recovered triggers work, measured on held-back images on worker threads. */
import { attackSuccessRate } from '../../src/metrics.ts';
import { toDevice } from '../../src/network/forward.ts';
import type { Network } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { amplitudeOf, triggerNorm, type Trigger, type TriggerKind } from '../../src/trigger/trigger.ts';
import { everyIndex, spread } from '../batch.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import type { Engine } from '../engine/engine.ts';
import { runShared } from '../jobs.ts';
import { predict } from '../predict.ts';

/** How a trigger is looked for: a mask with a pattern, or an addition, of small L1 norm; or one that is faint but covers the image: any addition, a smooth one, or a warp. */
export type ScreenedForm = SmallForm | CoveringForm;
/** The form of a trigger: one that was looked for, or noise, which is drawn (noise.ts). */
export type TriggerForm = ScreenedForm | 'noise';
/** The forms whose triggers are told by their L1 norm. */
export type SmallForm = Exclude<TriggerKind, 'warp'>;

/** The forms whose triggers cover the image, and are told by their amplitude and not by their L1 norm. */
export const COVERING_FORMS = ['dense', 'smooth', 'warp'] as const;
export type CoveringForm = (typeof COVERING_FORMS)[number];

/** Whether triggers of a form cover the image. */
export const isCovering = <Form extends TriggerForm>(form: Form): form is Exclude<Form, SmallForm> =>
  form === 'noise' || COVERING_FORMS.some((covering) => covering === form);

/** Whether triggers of a form are drawn on a coarse grid; pixel by pixel they would be smooth no more. */
export const isOnGrid = (form: TriggerForm): form is 'smooth' | 'warp' => form === 'smooth' || form === 'warp';

/** A trigger and the form in which it was recovered. */
export type Candidate = { form: TriggerForm; trigger: Trigger };

/** A recovered trigger with its norm in its form and its success rate on held-back images of other labels. */
export type Measured = Candidate & { norm: number; hitRate: number };

/** The model whose answers are measured. */
type MeasuredModel = { network: Network; weights: HostWeights; engine: Engine };
type MeasureInput = { network: Network; weights: HostWeights; images: Dataset; triggers: readonly Trigger[] };

const MEASURE = new URL('./measure.ts', import.meta.url);
/** A success rate of 90 % is known to 4 points with so many, and a purification measures many dozens of triggers. */
const MOST_IMAGES = 256;

/** The held-back images that triggers are measured on. */
export const measuringImages = (heldBack: Dataset): Dataset =>
  selectImages(heldBack, spread(heldBack.count, MOST_IMAGES));

/** The size that is small if a trigger of this form is: `triggerNorm`, or for one that covers the image its amplitude (l-infinity norm) in 0..1, of a warp in pixels. */
export function normIn(form: TriggerForm, trigger: Trigger): number {
  return isCovering(form) ? amplitudeOf(trigger) : triggerNorm(trigger);
}

/** The norm of a trigger in its form, for people. */
export function tellNorm(form: TriggerForm, norm: number): string {
  if (form === 'warp') return `at most ${norm.toFixed(2)} pixels`;
  return isCovering(form) ? `amplitude ${norm.toFixed(3)}` : `norm ${norm.toFixed(1)}`;
}

/** The norm of each trigger and its success rate on some of the images, those of its target label left out. */
export async function measureTriggers(
  recovery: MeasuredModel,
  heldBack: Dataset,
  candidates: readonly Candidate[],
): Promise<Measured[]> {
  const triggers = candidates.map(({ trigger }) => trigger);
  const rates = await labelHitRates(recovery, heldBack, triggers);
  return candidates.map(({ form, trigger }, index) => {
    return { form, trigger, norm: normIn(form, trigger), hitRate: rates[index]![trigger.targetLabel]! };
  });
}

/** For each trigger the share of some of the images that every label [K] gets, its own images left out. */
export async function labelHitRates(
  { network, weights, engine }: MeasuredModel,
  heldBack: Dataset,
  triggers: readonly Trigger[],
): Promise<number[][]> {
  const images = measuringImages(heldBack);
  const jobOf = (share: Trigger[]): MeasureInput => ({ network, weights, images, triggers: share });
  return runShared<Trigger, MeasureInput, number[]>(MEASURE, triggers, jobOf, engine);
}

/** The hit rates of every label, trigger after trigger; a job for worker threads. */
export async function job({ network, weights: host, images, triggers }: MeasureInput): Promise<number[][]> {
  const weights = toDevice(host);
  const hitRates: number[][] = [];
  for (const trigger of triggers) {
    const predicted = await predict(network, weights, images, everyIndex(images.count), trigger);
    hitRates.push(network.labelNames.map((_, label) => attackSuccessRate(predicted, images.labels, label).rate));
  }
  weights.forEach((tensor) => tensor.dispose());
  return hitRates;
}
