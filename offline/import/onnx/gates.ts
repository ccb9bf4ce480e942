/**
 * Activations that exporters write as a product of their input with a function of it: x * sigmoid(x), x * hardSigmoid(x), and the
 * GELU x * (1 + erf(x / sqrt 2)) / 2 in any order of its factors.
 */
import type { Gate, Graph, Known } from './graph.ts';
import { activated, floatOf, valueAt, type Call, type Operator } from './operator.ts';
import { refuse } from './refusal.ts';
import { sameLayout, type Value } from './value.ts';

/** HardSigmoid with the numbers of the hard swish. */
export const hardSigmoid: Operator = (call) => {
  const [alpha, beta] = [floatOf(call, 'alpha', 0.2), floatOf(call, 'beta', 0.5)];
  if (!near(alpha, 1 / 6) || beta !== 0.5) refuse(`expected alpha 1/6 and beta 0.5, got ${alpha} and ${beta}`);
  return { kind: 'gate', form: 'hardSigmoid', of: valueAt(call, 0) };
};

/** Erf of activations divided by the square root of 2. */
export const erf: Operator = (call) => {
  const value = valueAt(call, 0);
  const input = scaledInput(call.graph, value, Math.SQRT1_2) ?? refuse('expected it within a GELU');
  return { kind: 'gate', form: 'erf', of: { ...value, node: input } };
};

/** 1 + erf, if that is what is added. */
export function addToGate({ inputs }: Call): Gate | undefined {
  const [gate, one] = inputs[0]?.kind === 'gate' ? inputs : inputs.toReversed();
  return gate?.kind === 'gate' && gate.form === 'erf' && isNumber(one, 1) ? { ...gate, form: 'onePlusErf' } : undefined;
}

/** The product of a gate with its input or with one half, or of activations with their sigmoid; undefined for other products. */
export function multiplyGate(call: Call): Known | undefined {
  const { graph, inputs } = call;
  for (const [first, second] of [inputs, inputs.toReversed()]) {
    if (second?.kind === 'gate') return gated(call, first, second);
    if (first?.kind !== 'value' || second?.kind !== 'value' || !sameLayout(first, second)) continue;
    const layer = graph.layers.find(({ name }) => name === second.node);
    if (layer?.type === 'sigmoid' && layer.inputs[0] === first.node) return activated(call, first, 'swish');
  }
  return undefined;
}

function gated(call: Call, factor: Known | undefined, gate: Gate): Known {
  const { of, form } = gate;
  const isInput = factor?.kind === 'value' && factor.node === of.node && sameLayout(factor, of);
  const isHalf = isNumber(factor, 0.5);
  const isHalfInput = factor?.kind === 'value' && scaledInput(call.graph, factor, 0.5) === of.node;
  if (form === 'hardSigmoid' && isInput) return activated(call, of, 'hardSwish');
  if (form === 'onePlusErf' && isHalf) return { ...gate, form: 'halfOnePlusErf' };
  if (form === 'onePlusErf' && isInput) return { ...gate, form: 'inputOnePlusErf' };
  const isGelu =
    (form === 'halfOnePlusErf' && isInput) ||
    (form === 'inputOnePlusErf' && isHalf) ||
    (form === 'onePlusErf' && isHalfInput);
  return isGelu ? activated(call, of, 'gelu') : refuse('expected a hard swish or a GELU');
}

const near = (value: number, expected: number): boolean => Math.abs(value - expected) < 1e-6;

const isNumber = (known: Known | undefined, expected: number): boolean =>
  known?.kind === 'constant' && known.data.length === 1 && near(known.data[0]!, expected);

/** The node that a value is, times this factor and nothing more. */
function scaledInput(graph: Graph, { node }: Value, factor: number): string | undefined {
  const layer = graph.layers.find(({ name }) => name === node);
  if (layer?.type !== 'batchNorm') return undefined;
  const isAll = (suffix: string, expected: number): boolean =>
    graph.weights.get(`${node}/${suffix}`)!.data.every((value: number) => near(value, expected));
  const scales = isAll('gamma', factor) && isAll('beta', 0) && isAll('mean', 0);
  return scales && near(graph.weights.get(`${node}/variance`)!.data[0]! + layer.epsilon, 1)
    ? layer.inputs[0]
    : undefined;
}
