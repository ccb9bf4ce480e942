/** The training loop that victims and purified heads share: cross-entropy by stochastic gradient descent with momentum. */
import {
  add,
  addN,
  clone,
  dispose,
  div,
  logSoftmax,
  mean,
  minimum,
  mul,
  neg,
  sqrt,
  square,
  sum,
  tidy,
  variable,
  variableGrads,
  zerosLike,
  type Scalar,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Variable,
} from '@tensorflow/tfjs-core';
import type { HostTensor } from '../src/network/safetensors.ts';

/** Mean cross-entropy of logits [B,K] against target distributions [B,K]. */
export function crossEntropy(logits: Tensor, targets: Tensor): Scalar {
  return mean(crossEntropies(logits, targets));
}

/** The cross-entropy [B] of each row of logits [B,K] against its target probabilities [B,K]. */
export function crossEntropies(logits: Tensor, targets: Tensor): Tensor1D {
  return neg(sum(mul(logSoftmax(logits as Tensor2D), targets), 1));
}

/** The one-cycle learning rate (Smith, arXiv 1708.07120): up in a straight line for the first 30 % of the steps, then down to 0 as a cosine. */
export function oneCycle(step: number, steps: number, peak: number): number {
  const warm = 0.3 * steps;
  if (step < warm) return (peak * (step + 1)) / (warm + 1);
  return (peak * (1 + Math.cos((Math.PI * (step - warm)) / (steps - warm)))) / 2;
}

/** The part of every step that the next one keeps. */
const MOMENTUM = 0.9;

export type Descent<Drawn> = {
  variables: readonly Variable[];
  steps: number;
  peakLearningRate: number;
  /** What the loss of a step is of, where its gradient shall not ask how that depends on the variables; in the same tidy scope as the loss. */
  draw?: (step: number) => Drawn;
  /** The loss of one step; called inside a tidy scope, its tensors are freed after the step. */
  loss: (step: number, drawn: Drawn) => Scalar;
  /** Gradients whose norm over all variables is larger are scaled down to it (Pascanu et al., arXiv 1211.5063). */
  largestNorm?: number;
  /** Each step also takes this share of the learning rate off every weight. */
  weightDecay?: number;
  /** Where an earlier run stopped: the first step that is left, and the momentum [one a variable] it had. */
  from?: { step: number; momentum: readonly Tensor[] };
  afterStep?: (step: number, momentum: readonly Tensor[]) => void | Promise<void>;
};

/** Minimises a loss with SGD, momentum 0.9 and a one-cycle learning rate; yields to the event loop so that a signal can stop it. */
export async function descend<Drawn = void>(descent: Descent<Drawn>): Promise<void> {
  const { variables, steps, peakLearningRate, draw, loss, largestNorm, weightDecay = 0, from, afterStep } = descent;
  const momentum = variables.map((value, index) =>
    tidy(() => variable(from ? clone(from.momentum[index]!) : zerosLike(value), false)),
  );
  for (let step = from?.step ?? 0; step < steps; step++) {
    const rate = oneCycle(step, steps, peakLearningRate);
    tidy(() => {
      const drawn = draw?.(step) as Drawn;
      const { grads } = variableGrads(() => loss(step, drawn), [...variables]);
      const scale = largestNorm === undefined ? undefined : scaleTo(largestNorm, Object.values(grads));
      variables.forEach((value, index) => {
        const raw = grads[value.name];
        if (!raw) return;
        const found = scale ? mul(raw, scale) : raw;
        const gradient = weightDecay ? add(found, mul(value, weightDecay)) : found;
        momentum[index]!.assign(add(mul(MOMENTUM, momentum[index]!), gradient));
        value.assign(add(mul(-rate, momentum[index]!), value));
      });
    });
    await afterStep?.(step, momentum);
    if (step % 20 === 19) await new Promise((resolve) => setImmediate(resolve));
  }
  dispose(momentum);
}

/** The factor that takes the norm over all gradients down to the largest allowed one. */
function scaleTo(largestNorm: number, gradients: readonly Tensor[]): Tensor {
  const squares = gradients.map((gradient) => sum(square(gradient)));
  return minimum(1, div(largestNorm, sqrt(add(addN(squares), 1e-12))));
}

/** Trainable copies of weights, by name. */
export function variablesOf(weights: ReadonlyMap<string, Tensor>): Map<string, Variable> {
  return new Map([...weights].map(([name, tensor]) => [name, variable(tensor, true)]));
}

/** Reads tensors back to the host, by name. */
export async function toHost(weights: ReadonlyMap<string, Tensor>): Promise<Map<string, HostTensor>> {
  const host = new Map<string, HostTensor>();
  for (const [name, tensor] of weights) {
    host.set(name, { dtype: 'F32', shape: tensor.shape, data: Float32Array.from(await tensor.data()) });
  }
  return host;
}
