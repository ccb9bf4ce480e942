/** A victim's directory: the model, `card.json`, and unless it is a clean control its true triggers, a file each. */
import { join } from 'node:path';
import { decodeSafetensors, encodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import { decodeJson } from '../../src/release/encoding.ts';
import { failure, success, type Result } from '../../src/result.ts';
import { readWithin } from '../directory.ts';
import { loadModel, saveModel, type Model } from '../model.ts';
import { targetLabels } from './attack.ts';
import type { PlantedTrigger } from './planted-trigger.ts';
import { cardSchema, type Card, type Victim } from './victim.ts';

const CARD_FILE = 'card.json';
const CARD_LIMIT_BYTES = 2 ** 20;
const TRIGGER_LIMIT_BYTES = 2 ** 26;

const triggerFile = (index: number): string =>
  index === 0 ? 'trigger.safetensors' : `trigger-${index + 1}.safetensors`;

/** Writes a victim into a new or empty directory, all or none: the model's files, `card.json`, `trigger.safetensors`, `trigger-2...`. */
export function saveVictim(directory: string, { model, card, triggers }: Victim): Promise<Result<null>> {
  const files = new Map<string, Uint8Array>([
    [CARD_FILE, new TextEncoder().encode(`${JSON.stringify(card, null, 2)}\n`)],
    ...triggers.map((trigger, index) => [triggerFile(index), encodeTrigger(trigger)] as const),
  ]);
  return saveModel(directory, model, files);
}

/** Loads what `saveVictim` wrote; the error names the file and the field or tensor that does not fit. */
export async function loadVictim(directory: string): Promise<Result<Victim>> {
  const model = await loadModel(directory);
  if (!model.ok) return model;
  const file = join(directory, CARD_FILE);
  const bytes = await readWithin(file, CARD_LIMIT_BYTES);
  if (!bytes.ok) return bytes;
  const json = decodeJson(bytes.value);
  if (!json.ok) return failure(`${file}: ${json.error}`);
  const card = cardSchema.safeParse(json.value);
  if (!card.success) {
    const { path, message } = card.error.issues[0]!;
    return failure(`${file}: ${path.join('.') || 'entry'}: ${message}`);
  }
  const triggers: PlantedTrigger[] = [];
  for (const index of card.data.kind === 'none' ? [] : targetLabels(card.data).keys()) {
    const trigger = await loadTrigger(join(directory, triggerFile(index)), card.data, model.value, index);
    if (!trigger.ok) return trigger;
    triggers.push(trigger.value);
  }
  return success({ model: model.value, card: card.data, triggers });
}

/** `mask` and `pattern`: a blend; `pattern` alone: an addition; `patch`: one that moves, by the seed; `flow`: a warp. */
function encodeTrigger(planted: PlantedTrigger): Uint8Array {
  const { height, width, channels } = planted;
  const tensor = (shape: number[], data: Float32Array): HostTensor => ({ dtype: 'F32', shape, data });
  switch (planted.form) {
    case 'fixed': {
      const { trigger } = planted;
      const tensors = new Map([['pattern', tensor([height, width, channels], trigger.pattern)]]);
      if (trigger.kind === 'blend') tensors.set('mask', tensor([height, width, 1], trigger.mask));
      return encodeSafetensors(tensors);
    }
    case 'moving': {
      const { size, pattern } = planted.patch;
      return encodeSafetensors(new Map([['patch', tensor([size, size, channels], pattern)]]));
    }
    default:
      return encodeSafetensors(new Map([['flow', tensor([height, width, 2], planted.flow)]]));
  }
}

async function loadTrigger(
  file: string,
  card: Card,
  { network }: Model,
  index: number,
): Promise<Result<PlantedTrigger>> {
  if (card.kind === 'none') throw new Error('loadTrigger: a clean control has none');
  const bytes = await readWithin(file, TRIGGER_LIMIT_BYTES);
  if (!bytes.ok) return bytes;
  const decoded = decodeSafetensors(bytes.value);
  if (!decoded.ok) return failure(`${file}: ${decoded.error}`);
  const { tensors } = decoded.value;
  const { height, width, channels } = network.input;
  const targetLabel = targetLabels(card)[index] ?? card.targetLabel;
  const take = (name: string, shape: readonly number[]): Result<Float32Array> => {
    const found = tensors.get(name);
    if (found?.dtype === 'F32' && found.shape.join() === shape.join() && found.data.every(Number.isFinite)) {
      return success(found.data);
    }
    const got = found ? `${found.dtype} [${found.shape.join(',')}]` : 'no such tensor';
    return failure(`${file}: tensor "${name}": expected F32 [${shape.join(',')}] of finite numbers, got ${got}`);
  };
  if (card.kind === 'wanet') {
    const flow = take('flow', [height, width, 2]);
    return flow.ok ? success({ form: 'warp', height, width, channels, flow: flow.value }) : flow;
  }
  if (card.kind === 'badnets' && card.place === 'random') {
    const size = card.patchSize;
    if (size > Math.min(height, width)) {
      return failure(`${file}: tensor "patch": expected at most ${Math.min(height, width)} pixels a side, got ${size}`);
    }
    const found = take('patch', [size, size, channels]);
    if (!found.ok) return found;
    const patch = { size, channels, pattern: found.value };
    return success({ form: 'moving', height, width, channels, patch, seed: card.seed });
  }
  const pattern = take('pattern', [height, width, channels]);
  if (!pattern.ok) return pattern;
  const shown = { targetLabel, height, width, channels, pattern: pattern.value };
  if (card.kind === 'signal' || card.kind === 'additive') {
    return success({ form: 'fixed', height, width, channels, trigger: { kind: 'additive', ...shown } });
  }
  const mask = take('mask', [height, width, 1]);
  if (!mask.ok) return mask;
  return success({ form: 'fixed', height, width, channels, trigger: { kind: 'blend', ...shown, mask: mask.value } });
}
