/** Builds ONNX files by hand, also impossible ones. */
import { messageType } from '../../offline/import/onnx/proto.ts';

const FLOAT = 1;
const INT64 = 7;
const LIST_OF_INTS = 7;

/** The plain objects that protobufjs encodes; what is left out gets the standard value. */
export type Tensor = { name: string; dims: number[]; dataType: number; rawData?: Uint8Array; [field: string]: unknown };
export type Node = { opType: string; input: string[]; output: string[]; name?: string; [field: string]: unknown };
export type Parts = { nodes: Node[]; initializers: Tensor[]; input?: number[]; opset?: number };

/** A float tensor; of zeros if no values are given. */
export function floats(name: string, dims: number[], values?: readonly number[]): Tensor {
  const count = dims.reduce((total, size) => total * size, 1);
  const data = values ? Float32Array.from(values) : new Float32Array(count);
  return { name, dims, dataType: FLOAT, rawData: new Uint8Array(data.buffer) };
}

/** A list of whole numbers. */
export function integers(name: string, values: readonly number[]): Tensor {
  const data = BigInt64Array.from(values, (value) => BigInt(value));
  return { name, dims: [values.length], dataType: INT64, rawData: new Uint8Array(data.buffer) };
}

export const ints = (name: string, values: number[]): object => ({ name, ints: values, type: LIST_OF_INTS });

/** A node that is called after its output. */
export const node = (opType: string, input: string[], output: string, attribute: object[] = []): Node => {
  return { opType, input, output: [output], name: `node of ${output}`, attribute };
};

const valueInfo = (name: string, sizes: readonly number[]): object => {
  const dim = sizes.map((size) => (size > 0 ? { dimValue: size } : { dimParam: 'batch' }));
  return { name, type: { tensorType: { elemType: FLOAT, shape: { dim } } } };
};

/** The bytes of a model from `images` [B,3,8,8] to `logits`. */
export function onnxBytes({ nodes, initializers, input = [0, 3, 8, 8], opset = 13 }: Parts): Uint8Array {
  const model = {
    irVersion: 8,
    opsetImport: [{ domain: '', version: opset }],
    graph: {
      name: 'graph',
      node: nodes,
      initializer: initializers,
      input: [valueInfo('images', input)],
      output: [valueInfo('logits', [0, 4])],
    },
  };
  return messageType('ModelProto').encode(model).finish();
}

/** A convolution of `input`, pooled, and a dense layer to `logits`: what follows whatever a test puts before it. */
export function classifier(input: string, channels = 3): Parts {
  return {
    nodes: [
      node('Conv', [input, 'kernel', 'bias'], 'conv'),
      node('GlobalAveragePool', ['conv'], 'pooled'),
      node('Flatten', ['pooled'], 'flat'),
      node('Gemm', ['flat', 'matrix'], 'logits'),
    ],
    initializers: [
      floats('kernel', [2, channels, 1, 1], [...Array(2 * channels).keys()]),
      floats('bias', [2], [1, 2]),
      floats('matrix', [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
  };
}
