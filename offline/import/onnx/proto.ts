/** The messages of an ONNX file as plain data, decoded by protobufjs within limits. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import { failure, success, type Result } from '../../../src/result.ts';

export type OnnxTensor = {
  name: string;
  dims: number[];
  dataType: number;
  /** Little-endian element data, in one of these; views of the file. */
  rawData: Uint8Array;
  floatData: Uint8Array;
  doubleData: Uint8Array;
  /** Varints, one for each element. */
  int32Data: Uint8Array;
  int64Data: Uint8Array;
  dataLocation: number;
  externalData: { key: string; value: string }[];
};
export type OnnxAttribute = {
  name: string;
  f: number;
  i: number;
  s: Uint8Array;
  t: OnnxTensor | null;
  floats: number[];
  ints: number[];
};
export type OnnxNode = {
  name: string;
  opType: string;
  domain: string;
  input: string[];
  output: string[];
  attribute: OnnxAttribute[];
};
export type OnnxDimension = { dimValue: number; dimParam: string };
export type OnnxValueInfo = {
  name: string;
  type: { tensorType: { shape: { dim: OnnxDimension[] } | null } | null } | null;
};
export type OnnxGraph = {
  node: OnnxNode[];
  initializer: OnnxTensor[];
  input: OnnxValueInfo[];
  output: OnnxValueInfo[];
};
export type OnnxModel = { opsetImport: { domain: string; version: number }[]; producerName: string; graph: OnnxGraph };

/** A message of two bytes costs a hundred in memory: so many messages and list entries are at most read from one file. */
const MOST_ENTRIES = 500_000;
const MOST_DEPTH = 30;

// Sizes and shapes beyond 2^53 are refused by whoever uses them, so that numbers do for them.
protobuf.util.Long = undefined as never;
protobuf.configure();

const schema = protobuf.parse(readFileSync(new URL('onnx.proto', import.meta.url), 'utf8')).root;

/** The type of a message of ONNX, by its name in onnx.proto; for writing. */
export const messageType = (name: string): protobuf.Type => schema.lookupType(`onnx.${name}`);

/** Decodes an ONNX file; byte fields stay views of `bytes`. Fails when it is damaged, has no graph, or holds more entries than any classifier. */
export function decodeModel(bytes: Uint8Array): Result<OnnxModel> {
  const type = messageType('ModelProto');
  try {
    const entries = countEntries(type, protobuf.Reader.create(bytes), bytes.length, 0);
    if (entries > MOST_ENTRIES) return failure(`expected at most ${MOST_ENTRIES} nodes and values, got more`);
    const reader = protobuf.Reader.create(bytes);
    reader.discardUnknown = true;
    const model = type.decode(reader) as unknown as OnnxModel;
    return model.graph ? success(model) : failure('expected an ONNX model, got a file without a graph');
  } catch (error) {
    // protobufjs throws plain errors for whatever does not decode.
    return failure(`not an ONNX model, or damaged (${(error as Error).message})`);
  }
}

/** How many messages and list entries lie below here, counted without making them; stops counting past the limit. */
function countEntries(type: protobuf.Type, reader: protobuf.Reader, end: number, depth: number): number {
  if (depth > MOST_DEPTH) throw new Error('messages are nested too deep');
  let count = 0;
  while (reader.pos < end && count <= MOST_ENTRIES) {
    const tag = reader.uint32();
    const field = type.fieldsById[tag >>> 3]?.resolve();
    if ((tag & 7) !== 2 || !field) {
      reader.skipType(tag & 7);
      if (field?.repeated) count += 1;
      continue;
    }
    const length = reader.uint32();
    const stop = reader.pos + length;
    if (stop > end) throw new Error('a message is longer than the file');
    if (field.resolvedType instanceof protobuf.Type) {
      count += 1 + countEntries(field.resolvedType, reader, stop, depth + 1);
    } else if (field.repeated) count += field.type === 'string' ? 1 : length;
    reader.pos = stop;
  }
  return count;
}
