/**
 * The guard of a release as plain data: `fingerprint.json` and `fingerprint.safetensors` (see fingerprint.ts for what they hold)
 * with the probes of all triggers joined into the matrix that one forward pass multiplies with.
 */
import * as z from 'zod';
import { guardNodes } from '../network/cuts.ts';
import { nodeShapes, type Network, type Shape } from '../network/network.ts';
import { encodeSafetensors, type HostTensor } from '../network/safetensors.ts';
import { failure, success, type Result } from '../result.ts';
import { fingerprintSchema, type Fingerprint } from '../trigger/fingerprint.ts';
import { patternDepth, type Trigger } from '../trigger/trigger.ts';
import { decodeJson, encodeText } from './encoding.ts';
import { readTensors } from './tensors.ts';

/** `triggers`, and the columns of `probeWeights` [F,T] and `probeBias` [T], are in the order of `fingerprint.triggers`; `calibration` [N] is ascending. */
export type Guard = {
  readonly fingerprint: Fingerprint;
  readonly triggers: readonly Trigger[];
  readonly probeWeights: Float32Array;
  readonly probeBias: Float32Array;
  readonly calibration: Float32Array;
};

const JSON_FILE = 'fingerprint.json';
const TENSOR_FILE = 'fingerprint.safetensors';
const CALIBRATION = 'calibration/scores';

/** How many features `guardFeatures` has in a network that is cut at `cut`: 2C of activations [H,W,C], C of [C]. */
export function featureCount(network: Network, cut: string): Result<number> {
  const shapes = nodeShapes(network);
  if (!shapes.ok) return shapes;
  let count = 0;
  for (const node of guardNodes(network, cut)) {
    const shape = shapes.value.get(node);
    if (shape?.length !== 3 && shape?.length !== 1) {
      const got = shape ? `[${shape.join(',')}]` : 'no such node';
      return failure(`cut "${node}": expected a node [H,W,C] or [C], got ${got}`);
    }
    count += shape.length === 3 ? 2 * shape[2]! : shape[0]!;
  }
  return success(count);
}

const f32 = (shape: Shape, data: Float32Array): HostTensor => ({ dtype: 'F32', shape, data });

/** The content of the two fingerprint files, by name. */
export function encodeGuard(guard: Guard): Map<string, Uint8Array> {
  const { fingerprint, triggers, probeWeights, probeBias, calibration } = guard;
  const count = triggers.length;
  const features = probeWeights.length / count;
  const tensors = new Map<string, HostTensor>([[CALIBRATION, f32([calibration.length], calibration)]]);
  triggers.forEach((trigger, column) => {
    const { id } = fingerprint.triggers[column]!;
    const { height, width, pattern } = trigger;
    const weights = Float32Array.from({ length: features }, (_, feature) => probeWeights[feature * count + column]!);
    tensors.set(`${id}/probe/weights`, f32([features], weights));
    tensors.set(`${id}/probe/bias`, f32([1], probeBias.slice(column, column + 1)));
    tensors.set(`${id}/pattern`, f32([height, width, patternDepth(trigger)], pattern));
    if (trigger.kind === 'blend') tensors.set(`${id}/mask`, f32([height, width, 1], trigger.mask));
  });
  return new Map([
    [JSON_FILE, encodeText(`${JSON.stringify(fingerprintSchema.parse(fingerprint), null, 2)}\n`)],
    [TENSOR_FILE, encodeSafetensors(tensors)],
  ]);
}

/** Reads the guard of a network that is cut at `cut`; the error names the file and what does not fit the network or the calibration. */
export function decodeGuard(json: Uint8Array, tensors: Uint8Array, network: Network, cut: string): Result<Guard> {
  const features = featureCount(network, cut);
  if (!features.ok) return features;
  const fingerprint = parseFingerprint(json, network.labelNames.length);
  if (!fingerprint.ok) return failure(`${JSON_FILE}: ${fingerprint.error}`);
  const values = readTensors(TENSOR_FILE, tensors, tensorShapes(fingerprint.value, network, features.value));
  if (!values.ok) return values;
  const read = (name: string): Float32Array => values.value.get(name)!;
  const calibration = read(CALIBRATION);
  const calibrated = checkCalibration(calibration, fingerprint.value);
  if (!calibrated.ok) return calibrated;

  const entries = fingerprint.value.triggers;
  const probeWeights = new Float32Array(features.value * entries.length);
  entries.forEach(({ id }, column) => {
    read(`${id}/probe/weights`).forEach((weight, feature) => {
      probeWeights[feature * entries.length + column] = weight;
    });
  });
  const { height, width, channels } = network.input;
  const triggers = entries.map(({ id, kind, targetLabel }): Trigger => {
    const common = { targetLabel, height, width, channels, pattern: read(`${id}/pattern`) };
    return kind === 'blend' ? { ...common, kind, mask: read(`${id}/mask`) } : { ...common, kind };
  });
  const probeBias = Float32Array.from(entries, ({ id }) => read(`${id}/probe/bias`)[0]!);
  return success({ fingerprint: fingerprint.value, triggers, probeWeights, probeBias, calibration });
}

function parseFingerprint(bytes: Uint8Array, labelCount: number): Result<Fingerprint> {
  const json = decodeJson(bytes);
  if (!json.ok) return json;
  const parsed = fingerprintSchema.safeParse(json.value);
  if (!parsed.success) return failure(z.prettifyError(parsed.error).replaceAll(/\s+/g, ' '));
  const ids = new Set<string>();
  for (const { id, targetLabel } of parsed.data.triggers) {
    if (ids.has(id)) return failure(`trigger "${id}": the id is used twice`);
    ids.add(id);
    if (targetLabel >= labelCount) {
      return failure(`trigger "${id}": expected a target label below ${labelCount}, got ${targetLabel}`);
    }
  }
  return success(parsed.data);
}

function tensorShapes(fingerprint: Fingerprint, network: Network, features: number): Map<string, Shape> {
  const { height, width, channels } = network.input;
  const shapes = new Map<string, Shape>([[CALIBRATION, [fingerprint.falsePositiveBound.sampleSize]]]);
  for (const { id, kind } of fingerprint.triggers) {
    shapes.set(`${id}/probe/weights`, [features]);
    shapes.set(`${id}/probe/bias`, [1]);
    shapes.set(`${id}/pattern`, [height, width, patternDepth({ kind, channels })]);
    if (kind === 'blend') shapes.set(`${id}/mask`, [height, width, 1]);
  }
  return shapes;
}

/** The scores must ascend, and the threshold must let through no more of them than the false-positive rate and its bound say. */
function checkCalibration(calibration: Float32Array, fingerprint: Fingerprint): Result<null> {
  const { threshold, falsePositiveRate, falsePositiveBound } = fingerprint;
  const disorder = calibration.findIndex((score, index) => index > 0 && score < calibration[index - 1]!);
  if (disorder >= 0) return failure(`${TENSOR_FILE}: ${CALIBRATION}: score ${disorder} is below the one before it`);
  const flagged = calibration.filter((score) => score > threshold).length;
  const allowed = Math.min(falsePositiveRate, falsePositiveBound.upper) * calibration.length;
  return flagged <= allowed + 1e-9
    ? success(null)
    : failure(
        `${JSON_FILE}: threshold ${threshold} flags ${flagged} of ${calibration.length} calibration images, expected at most ${Math.floor(allowed)}`,
      );
}
