/** A model as one ONNX file: opset 13, NHWC images in, logits out, every weight an initialiser inside the file. */
import { headLayers } from '../../src/network/cuts.ts';
import { IMAGES, nodeShapes, type Shape } from '../../src/network/network.ts';
import { nodeNamer } from '../import/imported.ts';
import { messageType } from '../import/onnx/proto.ts';
import type { Model } from '../model.ts';
import { addLayer, channelsFirst, type Attributes, type Graph } from './onnx-layers.ts';

const IR_VERSION = 8;
const OPSET = 13;
/** Of AttributeProto.AttributeType and TensorProto.DataType. */
const ATTRIBUTE = { float: 1, int: 2, ints: 7 };
const ELEMENT = { float: 1, int64: 7 };

type Node = { name: string; opType: string; input: readonly string[]; output: string[]; attribute: object[] };
type Initializer = { name: string; dims: Shape; dataType: number; rawData: Uint8Array };

/**
 * The bytes of an ONNX file that takes `images [B,H,W,C] in 0..1` and gives `logits [B,K]` for any B; the label names lie in
 * its metadata as JSON. A weight keeps its name in `weightShapes`, but for one that would be named twice.
 */
export function encodeOnnx({ network, weights }: Model): Uint8Array {
  const shapes = nodeShapes(network);
  if (!shapes.ok) throw new Error(shapes.error);
  const nodes: Node[] = [];
  const initializers: Initializer[] = [];
  const unused = nodeNamer();
  const logits = unused('logits');
  const graphOf = (layer: string): Graph => ({
    run: (operator, input, attributes = {}, floats = {}) => {
      const name = unused(`${layer}/${operator}`);
      const attribute = [...attributesOf(attributes), ...floatsOf(floats)];
      nodes.push({ name, opType: operator, input, output: [name], attribute });
      return name;
    },
    constant: (wanted, dims, { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT }) => {
      const name = unused(`${layer}/${wanted}`);
      const dataType = BYTES_PER_ELEMENT === 4 ? ELEMENT.float : ELEMENT.int64;
      initializers.push({ name, dims, dataType, rawData: new Uint8Array(buffer, byteOffset, byteLength) });
      return name;
    },
  });

  const image = shapes.value.get(IMAGES)!;
  const values = new Map([[IMAGES, channelsFirst(graphOf(IMAGES), IMAGES, image)]]);
  for (const item of headLayers(network, IMAGES)) {
    const inputs = item.inputs.map((input) => values.get(input)!);
    const shape = shapes.value.get(item.inputs[0]!)!;
    const weight = (suffix: string): Float32Array => weights.get(`${item.name}/${suffix}`)!.data as Float32Array;
    addLayer(graphOf(item.name), item, { inputs, shape, weight });
    const output = item.name === network.output ? logits : unused(item.name);
    nodes.at(-1)!.output = [output];
    values.set(item.name, output);
  }
  const model = {
    irVersion: IR_VERSION,
    producerName: 'trigger-guard',
    opsetImport: [{ domain: '', version: OPSET }],
    metadataProps: [{ key: 'labelNames', value: JSON.stringify(network.labelNames) }],
    graph: {
      name: 'classifier',
      node: nodes,
      initializer: initializers,
      input: [valueInfo(IMAGES, image)],
      output: [valueInfo(logits, shapes.value.get(network.output)!)],
    },
  };
  return messageType('ModelProto').encode(model).finish();
}

const floatsOf = (values: Attributes): object[] =>
  Object.entries(values).map(([name, f]) => ({ name, f, type: ATTRIBUTE.float }));

const attributesOf = (values: Attributes): object[] =>
  Object.entries(values).map(([name, value]) =>
    typeof value === 'number' ? { name, i: value, type: ATTRIBUTE.int } : { name, ints: value, type: ATTRIBUTE.ints },
  );

function valueInfo(name: string, shape: Shape): object {
  const dim = [{ dimParam: 'batch' }, ...shape.map((size) => ({ dimValue: size }))];
  return { name, type: { tensorType: { elemType: ELEMENT.float, shape: { dim } } } };
}
