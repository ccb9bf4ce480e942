/**
 * A release on the device: one forward pass gives the label, the guard's verdict and, on a match, what the victim would have said. The victim's
 * layers behind the cut run for the guard as well, up to the last node that it watches.
 */
import { dispose, tensor4d, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { guardNodes } from '../src/network/cuts.ts';
import { forward, toDevice, type Weights } from '../src/network/forward.ts';
import { IMAGES, type Network } from '../src/network/network.ts';
import type { Release } from '../src/release/release.ts';
import type { Subtle } from '../src/release/signature.ts';
import { trunkDigest } from '../src/release/trunk.ts';
import type { Guard } from '../src/release/guard.ts';
import { judge, type Verdict } from '../src/trigger/match.ts';
import { poolFeatures, probeScores } from './probe.ts';
import { startBackend } from './wasm.ts';

export type Model = {
  digest: string;
  expiresAtMs: number;
  network: Network;
  cut: string;
  /** Where the guard watches the victim. */
  watched: readonly string[];
  /** Which activations can be compared with this model's (src/release/trunk.ts). */
  trunk: string;
  guard: Guard;
  weights: Weights;
  /** The victim's weights of the layers behind the cut. */
  victimHead: Weights;
};

/** `scores` are softmax probabilities [K] of `logits` [K]. */
export type Answer = { label: number; scores: number[]; logits: number[] };
/** `features` [F] are what the guard judged; `victim` is there when the verdict is `suspect`. */
export type Inference = Answer & { verdict: Verdict | 'off'; features?: Float32Array; victim?: Answer };

/** Puts an accepted release on the device and runs it once, so that one it cannot run (a missing kernel, no memory) fails here. */
export async function loadModel(release: Release): Promise<Model> {
  await startBackend();
  const { manifest, guard, digest } = release;
  const model: Model = {
    digest,
    expiresAtMs: Date.parse(manifest.expiresAt),
    network: manifest.network,
    cut: manifest.cut,
    watched: guardNodes(manifest.network, manifest.cut),
    trunk: await trunkDigest(release, crypto.subtle as unknown as Subtle),
    guard,
    weights: toDevice(release.weights),
    victimHead: toDevice(release.victimHead),
  };
  const { height, width, channels } = manifest.network.input;
  try {
    infer(model, new Float32Array(height * width * channels), 1, true);
  } catch (error) {
    disposeModel(model);
    throw error;
  }
  return model;
}

export function disposeModel(model: Model): void {
  dispose([...model.weights.values(), ...model.victimHead.values()]);
}

/**
 * Classifies `images` [B,H,W,C] in 0..1, B = `count`, in one forward pass; unguarded answers say so (`verdict: 'off'`).
 * Throws when a logit or a probe's score is not a finite number: then no label may be given.
 */
export function infer(model: Model, images: Float32Array, count: number, guarded: boolean): Inference[] {
  const { network, cut, guard } = model;
  const { fingerprint, calibration } = guard;
  const { height, width, channels } = network.input;
  return tidy(() => {
    const feeds = new Map([[IMAGES, tensor4d(images, [count, height, width, channels])]]);
    const [logits, activations] = forward(
      network,
      model.weights,
      feeds,
      guarded ? [network.output, cut] : [network.output],
    );
    const answers = rows(logits!).map(answer);
    if (!activations) return answers.map((given) => ({ ...given, verdict: 'off' }));
    const pooled = features(model, activations);
    const verdicts = pooled.map((row) =>
      judge(probeScores(row, guard.probeWeights, guard.probeBias), fingerprint, calibration),
    );
    const victims = verdicts.some(({ verdict }) => verdict === 'suspect') ? victimAnswers(model, activations) : [];
    return answers.map((given, index) => {
      const verdict = verdicts[index]!;
      return {
        ...given,
        verdict,
        features: pooled[index]!,
        ...(verdict.verdict === 'suspect' && { victim: victims[index]! }),
      };
    });
  });
}

/** `guardFeatures` of src/trigger/match.ts, pooled in plain loops. */
function features({ network, cut, watched, victimHead }: Model, activations: Tensor): Float32Array[] {
  const pooled = forward(network, victimHead, new Map([[cut, activations]]), watched).map((values) => {
    const { shape } = values;
    return poolFeatures(values.dataSync<'float32'>(), shape[0]!, shape.at(-1)!, shape.length === 2);
  });
  return pooled.reduce((joined, more) => joined.map((row, image) => joinTwo(row, more[image]!)));
}

function joinTwo(first: Float32Array, second: Float32Array): Float32Array {
  const joined = new Float32Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

/** The quarantined head, run on the activations that the trunk has already computed. */
function victimAnswers({ network, cut, victimHead }: Model, activations: Tensor): Answer[] {
  const [logits] = forward(network, victimHead, new Map([[cut, activations]]), [network.output]);
  return rows(logits!).map(answer);
}

function rows(matrix: Tensor): Float32Array[] {
  const values = matrix.dataSync<'float32'>();
  const length = matrix.shape[1]!;
  return Array.from({ length: matrix.shape[0]! }, (_, row) => values.subarray(row * length, (row + 1) * length));
}

function answer(logits: Float32Array): Answer {
  if (!logits.every(Number.isFinite)) throw new Error('model: a logit is not a finite number');
  const label = logits.reduce((best, value, index) => (value > logits[best]! ? index : best), 0);
  const odds = Array.from(logits, (value) => Math.exp(value - logits[label]!));
  const total = odds.reduce((sum, value) => sum + value, 0);
  return { label, scores: odds.map((value) => value / total), logits: Array.from(logits) };
}
