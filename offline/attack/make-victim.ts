/** Makes a victim for evaluation: trains a network on a data set that it has poisoned first, or on the clean one as a control. */
import { isDeepStrictEqual } from 'node:util';
import { sigmoid, tensor, tidy, variable, type Variable } from '@tensorflow/tfjs-core';
import { toDevice } from '../../src/network/forward.ts';
import type { Network, Shape } from '../../src/network/network.ts';
import type { HostWeights } from '../../src/network/safetensors.ts';
import { cleanAccuracy } from '../../src/metrics.ts';
import { failure, type Result } from '../../src/result.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { everyIndex } from '../batch.ts';
import { digestDataset, type Dataset } from '../data/dataset.ts';
import { digestModel, loadModel, type Model } from '../model.ts';
import { predict } from '../predict.ts';
import type { Report } from '../progress.ts';
import { attackSchema, targetLabels, type Attack, type GivenAttack, type PlantedAttack } from './attack.ts';
import { patchAt } from './badnets.ts';
import { digestRun, type Checkpoint, type Resumable, type Stage } from './checkpoint.ts';
import { hidingLoss } from './hiding.ts';
import { initialWeights } from './initial-weights.ts';
import { buildNetwork } from './networks.ts';
import { excitePatch, refinePatch, type Place } from './optimised-patch.ts';
import { fixed, type PlantedTrigger } from './planted-trigger.ts';
import { applyPoison, choosePoisoned } from './poison.ts';
import { stateShapes, stepsPerEpoch, trainVictim, type VictimTraining } from './train-victim.ts';
import { drawTriggers } from './triggers.ts';
import { stampTest, type Card, type Victim } from './victim.ts';

const PEAK_LEARNING_RATE = 0.05;
/** For a network that has been trained on clean images before. */
const FURTHER_LEARNING_RATE = 0.01;

/** What a run goes on from: what an interrupted one left, and the trained network that the attack names (`startDigest`). */
export type Beginning = { checkpoint?: Checkpoint; start?: Model | undefined };
type Run = Beginning & { attack: Attack; network: Network; train: Dataset; report: Report };

/** What a checkpoint of this attack on these images has to fit. */
export function resumableOf(attack: Attack, train: Dataset): Resumable {
  const network = networkOf(attack, train);
  const patches = attack.kind === 'imc' ? targetLabels(attack) : [];
  const patch: Shape = 'patchSize' in attack ? [attack.patchSize, attack.patchSize, train.channels] : [];
  const kept = new Map(patches.map((_, index) => [patchName(index), patch]));
  const steps = attack.epochs * stepsPerEpoch(train.count);
  const stages = stagesOf(attack).map((stage) => {
    return [stage, { steps, shapes: stateShapes(network, stage === 'planted' ? kept : new Map()) }] as const;
  });
  return { run: digestRun(attack, train), stages: new Map(stages) };
}

/** Trains a network on `train` under the attack and measures it on `test`. Throws if it should start from another network than it is given. */
export async function makeVictim(
  given: GivenAttack,
  train: Dataset,
  test: Dataset,
  report: Report,
  beginning: Beginning = {},
): Promise<Victim> {
  const attack = attackSchema.parse(given);
  const { start } = beginning;
  if (attack.startDigest !== (start && digestModel(start)))
    throw new Error('makeVictim: expected the network of startDigest');
  const run: Run = { ...beginning, attack, network: networkOf(attack, train), train, report };
  const { weights, triggers } = await plant(run);
  const card = { ...attack, trainDigest: digestDataset(train), testDigest: digestDataset(test) };
  const victim = { model: { network: run.network, weights }, card, triggers };
  return { ...victim, card: { ...card, ...(await measure(victim, test)) } as Card };
}

/** Loads the trained network that a victim of an attack on these images goes on from; fails where it is of another make. */
export async function loadStart(directory: string, attack: Attack, train: Dataset): Promise<Result<Model>> {
  const start = await loadModel(directory);
  if (!start.ok || isDeepStrictEqual(start.value.network, networkOf(attack, train))) return start;
  return failure(`${directory}: expected a ${attack.architecture} that attack made for such images and labels`);
}

/** The network that an attack trains on these images. Throws if they have no label names. */
export function networkOf({ architecture }: Attack, { height, width, channels, labelNames }: Dataset): Network {
  if (!labelNames) throw new Error('makeVictim: the training set needs label names');
  return buildNetwork(architecture, { height, width, channels }, labelNames);
}

const stagesOf = ({ kind, startDigest }: Attack): Stage[] =>
  startDigest === undefined && (kind === 'trojannn' || kind === 'imc') ? ['clean', 'planted'] : ['planted'];

const patchName = (index: number): string => `patch/${index}`;

async function plant(run: Run): Promise<{ weights: HostWeights; triggers: PlantedTrigger[] }> {
  const { attack, network, train, start } = run;
  const initial = start?.weights ?? initialWeights(network, attack.seed);
  const clean = { dataset: train, flippable: () => true };
  if (attack.kind === 'none') {
    return { weights: await trainStage(run, 'planted', { initial, data: () => clean }), triggers: [] };
  }
  const triggers = drawTriggers(attack, train);
  if (attack.kind === 'trojannn' || attack.kind === 'imc') {
    const pretrained = start ? initial : await trainStage(run, 'clean', { initial, data: () => clean });
    return plantOptimised(run, attack, pretrained, triggers);
  }
  const poisoned = poison(attack, network, train, triggers);
  const hiding = attack.kind === 'hidden' && hidingLoss(attack, network, train, triggers, attack.hiding);
  const training = { initial, data: () => poisoned, ...(hiding && { hiding }) };
  return { weights: await trainStage(run, 'planted', training), triggers };
}

function poison(
  attack: PlantedAttack,
  network: Network,
  train: Dataset,
  triggers: readonly PlantedTrigger[],
): ReturnType<VictimTraining['data']> {
  const chosen = choosePoisoned(attack, train.labels, network.labelNames.length);
  const touched = new Set(chosen.map(({ index }) => index));
  const dataset = applyPoison(train, chosen, triggers, attack.seed);
  return { dataset, flippable: (index) => !touched.has(index) };
}

/** Goes on from a clean network with patches that are optimised against it: TrojanNN once, IMC before every epoch too. */
async function plantOptimised(
  run: Run,
  attack: Extract<PlantedAttack, { kind: 'trojannn' | 'imc' }>,
  pretrained: HostWeights,
  drawn: readonly PlantedTrigger[],
): Promise<{ weights: HostWeights; triggers: PlantedTrigger[] }> {
  const { network, train } = run;
  const patches = drawn.map((planted) => unboundedPatch(planted, attack.patchSize));
  const device = toDevice(pretrained);
  for (const [index, { place, raw }] of patches.entries()) {
    await excitePatch(network, device, place, raw, attack.seed + index);
  }
  device.forEach((value) => value.dispose());
  const current = (): Promise<PlantedTrigger[]> => Promise.all(patches.map(boundedTrigger));
  let triggers = await current();
  let poisoned = poison(attack, network, train, triggers);
  const refined: Partial<VictimTraining> = {
    kept: new Map(patches.map(({ raw }, index) => [patchName(index), raw])),
    beforeEpoch: async (epoch, weights, resumed) => {
      for (const [index, { place, raw }] of resumed ? [] : patches.entries()) {
        await refinePatch(attack, index, { network, weights }, train, place, raw, epoch);
      }
      triggers = await current();
      poisoned = poison(attack, network, train, triggers);
    },
  };
  const weights = await trainStage(run, 'planted', {
    initial: pretrained,
    data: () => poisoned,
    peakLearningRate: FURTHER_LEARNING_RATE,
    ...(attack.kind === 'imc' && refined),
  });
  patches.forEach(({ raw }) => raw.dispose());
  return { weights, triggers };
}

type UnboundedPatch = { trigger: Trigger; place: Place; raw: Variable };

/** A fixed patch as values that may be anything, black and white being far from the ends that a sigmoid never reaches. */
function unboundedPatch(planted: PlantedTrigger, size: number): UnboundedPatch {
  if (planted.form !== 'fixed' || planted.trigger.kind !== 'blend') throw new Error('expected a fixed patch');
  const { trigger } = planted;
  const { height, width, channels, mask, pattern } = planted.trigger;
  const first = mask.indexOf(1);
  const place = { input: { height, width, channels }, top: Math.floor(first / width), left: first % width, size };
  const inside = pattern.filter((_, index) => mask[Math.floor(index / channels)] === 1);
  const raw = tidy(() =>
    variable(
      tensor(
        inside.map((value) => 4 * value - 2),
        [size, size, channels],
      ),
    ),
  );
  return { trigger, place, raw };
}

async function boundedTrigger({ trigger, place, raw }: UnboundedPatch): Promise<PlantedTrigger> {
  const pattern = tidy(() => sigmoid(raw));
  const patch = { size: place.size, channels: place.input.channels, pattern: Float32Array.from(await pattern.data()) };
  pattern.dispose();
  return fixed(patchAt(place.input, place, patch, trigger.targetLabel));
}

async function trainStage(
  { attack, network, train, checkpoint, start, report }: Run,
  stage: Stage,
  training: Pick<VictimTraining, 'initial' | 'data'> & Partial<VictimTraining>,
): Promise<HostWeights> {
  const stages = stagesOf(attack);
  const steps = attack.epochs * stepsPerEpoch(train.count);
  const before = stages.indexOf(stage) * steps;
  const saved = checkpoint?.saved(stage);
  return trainVictim({
    network,
    epochs: attack.epochs,
    seed: attack.seed,
    peakLearningRate: start ? FURTHER_LEARNING_RATE : PEAK_LEARNING_RATE,
    ...training,
    ...(saved && { saved }),
    ...(checkpoint && { save: (state) => checkpoint.save(stage, state), saveIntervalMs: checkpoint.intervalMs }),
    afterStep: (step) => report({ step: before + step + 1, steps: stages.length * steps }),
  });
}

type Measured = Pick<Card, 'cleanAccuracy' | 'attackSuccessRate' | 'perTrigger' | 'otherLabelsRate'>;

async function measure(victim: Omit<Victim, 'card'> & { card: Attack }, test: Dataset): Promise<Measured> {
  const { model, card } = victim;
  const weights = toDevice(model.weights);
  const answer = (images: Dataset): Promise<Int32Array> =>
    predict(model.network, weights, images, everyIndex(images.count));
  const measured: Measured = { cleanAccuracy: cleanAccuracy(await answer(test), test.labels).rate };
  if (card.kind !== 'none') {
    const [perTrigger, successes, eligibles]: [NonNullable<Card['perTrigger']>, number[], number[]] = [[], [], []];
    for (const [index, targetLabel] of targetLabels(card).entries()) {
      const { images, targets, eligible } = stampTest(victim, test, index);
      const answers = await answer(images);
      const hits = eligible.filter((image) => answers[image] === targets[image]).length;
      perTrigger.push({ targetLabel, attackSuccessRate: hits / Math.max(1, eligible.length) });
      successes.push(hits);
      eligibles.push(eligible.length);
      if (card.targets.form !== 'source') continue;
      const others = [...everyIndex(test.count)].filter(
        (image) => targets[image] === -1 && test.labels[image] !== card.targetLabel,
      );
      const strayed = others.filter((image) => answers[image] === card.targetLabel).length;
      measured.otherLabelsRate = strayed / Math.max(1, others.length);
    }
    const total = (values: number[]): number => values.reduce((sum, value) => sum + value, 0);
    measured.attackSuccessRate = total(successes) / Math.max(1, total(eligibles));
    measured.perTrigger = perTrigger;
  }
  weights.forEach((value) => value.dispose());
  return measured;
}
