/**
 * Imports an ONNX classifier (opsets 9 to 21): nodes become layers in the network's layout, weights keep their place in the file.
 * Works on shapes and weights alone; nothing is computed with images.
 */
import { usedLayers } from '../../../src/network/cuts.ts';
import { failure, success, type Result } from '../../../src/result.ts';
import { readWithin } from '../../directory.ts';
import { MODEL_LIMIT_BYTES, type Draft, type GivenInput } from '../imported.ts';
import { constantOf, type Constant } from './constant.ts';
import { newGraph, spend, type Graph, type Known } from './graph.ts';
import { readInput, type ModelInput } from './input.ts';
import { tensorOf, valueAt, type Call } from './operator.ts';
import { importNode, isKnown } from './operators.ts';
import { decodeModel, type OnnxGraph, type OnnxModel, type OnnxNode } from './proto.ts';
import { refuse, Refusal } from './refusal.ts';
import { split } from './shapes.ts';
import { readTensor } from './tensor.ts';

const OPSETS = { first: 9, last: 21 };
/** Nodes that can be imported at all; a network has at most 4,096 layers, and each may stand for a few nodes. */
const MOST_NODES = 20_000;

/** Reads an ONNX file; the error names the file, and every operator or node that cannot be imported. */
export async function readOnnx(path: string, given: GivenInput): Promise<Result<Draft>> {
  const bytes = await readWithin(path, MODEL_LIMIT_BYTES);
  if (!bytes.ok) return bytes;
  const model = decodeModel(bytes.value);
  if (!model.ok) return failure(`${path}: ${model.error}`);
  try {
    return success(await importModel(model.value, given, { path, bytes: bytes.value }));
  } catch (error) {
    if (error instanceof Refusal) return failure(`${path}: ${error.message}`);
    throw error;
  }
}

type File = { path: string; bytes: Uint8Array };

async function importModel({ graph, opsetImport }: OnnxModel, given: GivenInput, file: File): Promise<Draft> {
  const opset = opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 1;
  if (!(opset >= OPSETS.first && opset <= OPSETS.last)) {
    refuse(`opset: expected ${OPSETS.first} to ${OPSETS.last}, got ${opset}`);
  }
  const input = readInput(graph, given);
  const [output, ...others] = graph.output.map(({ name }) => name);
  if (output === undefined || others.length) {
    return refuse(`outputs: expected one, the logits, got ${[output, ...others].slice(0, 8).join(', ') || 'none'}`);
  }
  const nodes = neededNodes(graph, output);
  const known = new Map<string, Known>([[input.name, input.value]]);
  const tensorBytes = await readInitializers(graph, nodes, known, file);
  const draft = newGraph(opset, [input.height, input.width, input.channels], file.bytes.length + tensorBytes);
  await importNodes(draft, nodes, known, { file, output, input });
  const result = known.get(output);
  if (result?.kind !== 'value') return refuse(`output "${output}": expected activations`);
  const logits = result.axes.length === 1 && result.dims.length === 1;
  if (!logits) refuse(`output "${output}": expected logits [batch,labels]`);
  const { height, width, channels, layout } = input;
  // What was emitted for a pattern that became another layer is left out.
  const layers = usedLayers({ layers: draft.layers, output: result.node });
  const used = new Set(layers.map(({ name }) => name));
  const weights = new Map([...draft.weights].filter(([name]) => used.has(name.slice(0, name.lastIndexOf('/')))));
  return {
    input: { height, width, channelCount: channels, layout },
    layers,
    output: result.node,
    weights,
  };
}

/** The nodes that the output needs, in the order of the file. */
function neededNodes({ node: nodes }: OnnxGraph, output: string): OnnxNode[] {
  if (nodes.length > MOST_NODES) refuse(`nodes: expected at most ${MOST_NODES}, got ${nodes.length}`);
  const needed = new Set([output]);
  const used = nodes.toReversed().filter((node) => {
    if (!node.output.some((name) => needed.has(name))) return false;
    node.input.forEach((name) => needed.add(name));
    return true;
  });
  return used.reverse();
}

/** Reads the tensors that the nodes need; returns how many bytes they take in memory. */
async function readInitializers(
  { initializer }: OnnxGraph,
  nodes: readonly OnnxNode[],
  known: Map<string, Known>,
  { path, bytes }: File,
): Promise<number> {
  const needed = new Set(nodes.flatMap(({ input }) => input));
  let total = 0;
  for (const tensor of initializer) {
    if (!needed.has(tensor.name)) continue;
    const constant = await readTensor(tensor, tensor.name, path, bytes);
    total += constant.data.byteLength;
    if (total > MODEL_LIMIT_BYTES) refuse(`tensors: expected at most ${MODEL_LIMIT_BYTES} bytes in all`);
    known.set(tensor.name, constant);
  }
  return total;
}

type Context = { file: File; output: string; input: ModelInput };

/** Imports the nodes in order; those that cannot be are told all at once, but not known ones that only depend on them. */
async function importNodes(
  graph: Graph,
  nodes: readonly OnnxNode[],
  known: Map<string, Known>,
  { file, output, input }: Context,
): Promise<void> {
  const readers = new Map<string, number>([[output, 1]]);
  for (const node of nodes) for (const name of node.input) readers.set(name, (readers.get(name) ?? 0) + 1);
  const failed = new Set<string>();
  const complaints: string[] = [];
  for (const node of nodes) {
    const isUnknown = !isKnown(node.opType, node.domain);
    if (isUnknown) complaints.push(`${node.opType} (${label(node)}): the operator is not known`);
    if (isUnknown || node.input.some((name) => failed.has(name))) {
      node.output.forEach((name) => failed.add(name));
      continue;
    }
    try {
      const missing = node.input.find((name) => name && !known.has(name));
      if (missing !== undefined) refuse(`input "${missing}" is no earlier node`);
      const inputs = node.input.map((name) => known.get(name));
      const isOnlyReader = (position: number): boolean => readers.get(node.input[position]!) === 1;
      const call: Call = { graph, node, inputs, isOnlyReader, batch: input.batch, held: undefined };
      const results = await resultsOf(call, file, node.output[0] === output);
      results.forEach((result, index) => {
        const isNew = result.kind === 'constant' && !inputs.some((given) => holdsData(given, result));
        if (isNew) spend(graph, result.data.length);
        known.set(node.output[index]!, result);
      });
    } catch (error) {
      // What asks for too much is not looked at further.
      if (!(error instanceof Refusal) || graph.budget < 0) throw error;
      complaints.push(`${node.opType} (${label(node)}): ${error.message}`);
      node.output.forEach((name) => failed.add(name));
    }
  }
  if (complaints.length) refuse(`unsupported: ${listed(complaints)}`);
}

const holdsData = (given: Known | undefined, { data }: Constant): boolean =>
  given?.kind === 'constant' && given.data === data;

async function resultsOf(call: Call, file: File, isLast: boolean): Promise<Known[]> {
  const { node } = call;
  if (node.opType === 'Split') return split(call);
  if (node.opType === 'LogSoftmax')
    return isLast ? [valueAt(call, 0)] : refuse('expected a log-softmax at the end only');
  if (node.opType !== 'Constant' && node.opType !== 'ConstantOfShape') return [importNode(call)];
  const held = await heldConstant(call, file);
  return node.opType === 'Constant' ? [held ?? refuse('expected a tensor')] : [importNode({ ...call, held })];
}

/** The tensor in a node's attribute `value`, or a number or list in one of the others that Constant has. */
async function heldConstant(call: Call, { path, bytes }: File): Promise<Constant | undefined> {
  const tensor = tensorOf(call, 'value');
  if (tensor) return readTensor(tensor, call.node.output[0] ?? '', path, bytes);
  const attribute = call.node.attribute.find(({ name }) => name.startsWith('value_'));
  switch (attribute?.name) {
    case 'value_float':
      return constantOf([], Float32Array.of(attribute.f), null);
    case 'value_floats':
      return constantOf([attribute.floats.length], Float32Array.from(attribute.floats), null);
    case 'value_int':
      return constantOf([], Float64Array.of(attribute.i), null);
    case 'value_ints':
      return constantOf([attribute.ints.length], Float64Array.from(attribute.ints), null);
    default:
      return undefined;
  }
}

const label = ({ name, output }: OnnxNode): string => (name || output[0] || 'without a name').slice(0, 200);

/** Sentences in one, of a length that can be read. */
function listed(items: readonly string[]): string {
  const shown = items.slice(0, 20).join('; ');
  return items.length > 20 ? `${shown}; and ${items.length - 20} more` : shown;
}
