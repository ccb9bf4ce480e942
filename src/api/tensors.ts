/**
 * The tensors of the Open Inference Protocol to images and back: as JSON, and as bytes behind the JSON (Triton's "Binary Tensor Data
 * Extension": little-endian, row-major; an element of type BYTES is its length as uint32, then its bytes).
 */
import { encodeText } from '../release/encoding.ts';
import { failure, success, type Result } from '../result.ts';
import { imageFromBase64, imageFromFile, type ImageSize } from './pixels.ts';

export type Body = { json: Uint8Array; binary: Uint8Array };

/** An input tensor that was parsed as `inferRequest` says; `data` is unchecked. */
export type InputTensor = {
  shape: readonly number[];
  datatype: string;
  data?: unknown;
  binarySizeBytes?: number | undefined;
};

/** `count` images, each read when it is asked for: [H*W*C] in 0..1. */
export type ImageList = { count: number; read: (index: number) => Result<Float32Array> };

/** Parts a body into JSON and what follows it; `headerLength` is the text of `Inference-Header-Content-Length`, if it was sent. */
export function splitBody(body: Uint8Array, headerLength: string | undefined): Result<Body> {
  if (headerLength === undefined) return success({ json: body, binary: body.subarray(body.length) });
  const length = /^\d{1,10}$/.test(headerLength) ? Number(headerLength) : Infinity;
  if (length > body.length) {
    return failure(`inference-header-content-length: expected at most the ${body.length} bytes of the body`);
  }
  return success({ json: body.subarray(0, length), binary: body.subarray(length) });
}

/** The images of an input tensor: FP32 in 0..1 or UINT8, [B,H,W,C], or BYTES [B] or [B,1], PNG or JPEG files (base64 in JSON). */
export function readImages(
  tensor: InputTensor,
  binary: Uint8Array,
  input: ImageSize,
  maxCount: number,
): Result<ImageList> {
  const { shape, datatype, binarySizeBytes } = tensor;
  const { height, width, channels } = input;
  const expected = datatype === 'BYTES' ? [[], [1]] : [[height, width, channels]];
  const [count = 0, ...rest] = shape;
  if (count < 1 || count > maxCount || !expected.some((axes) => axes.join() === rest.join())) {
    const wanted = datatype === 'BYTES' ? '[B]' : `[B,${height},${width},${channels}]`;
    return failure(`images: expected shape ${wanted} with B of 1 to ${maxCount}, got [${shape.slice(0, 8).join(',')}]`);
  }
  const isBinary = binarySizeBytes !== undefined;
  if (binary.length !== (binarySizeBytes ?? 0)) {
    return failure(`images: expected ${binarySizeBytes ?? 0} bytes behind the JSON, got ${binary.length}`);
  }
  if (isBinary && tensor.data !== undefined) return failure('images: expected data or binary_data_size, got both');
  const size = height * width * channels;
  if (datatype === 'BYTES') return isBinary ? binaryFiles(binary, count, input) : jsonFiles(tensor.data, count, input);
  const values = isBinary ? binaryValues(binary, datatype, count * size) : jsonValues(tensor.data, count * size);
  if (!values.ok) return values;
  const largest = datatype === 'FP32' ? 1 : 255;
  const read = (index: number): Result<Float32Array> => {
    const image = new Float32Array(size);
    for (let at = 0; at < size; at++) {
      const value = values.value[index * size + at]!;
      if (!(value >= 0 && value <= largest)) return wrongValue(index * size + at, largest, value);
      image[at] = value / largest;
    }
    return success(image);
  };
  return success({ count, read });
}

const wrongValue = (at: number, largest: number, value: unknown) =>
  failure(
    `images: expected numbers in 0..${largest}, got ${typeof value === 'number' ? value : typeof value} at ${at}`,
  );

function binaryValues(binary: Uint8Array, datatype: string, count: number): Result<ArrayLike<number>> {
  const expected = count * (datatype === 'FP32' ? 4 : 1);
  if (binary.length !== expected) {
    return failure(`images: expected binary_data_size ${expected} for this shape, got ${binary.length}`);
  }
  if (datatype === 'UINT8') return success(binary);
  const view = new DataView(binary.buffer, binary.byteOffset, binary.length);
  return success(Float32Array.from({ length: count }, (_, index) => view.getFloat32(4 * index, true)));
}

/** Data may be nested or flat (the protocol leaves it to the client); how deep JSON nests was bounded when it was parsed. */
function flatten(data: unknown, count: number): Result<unknown[]> {
  const flat: unknown[] = Array.isArray(data) ? data.flat(Infinity) : [];
  return flat.length === count
    ? success(flat)
    : failure(`images: expected data of ${count} elements, got ${flat.length}`);
}

function jsonValues(data: unknown, count: number): Result<ArrayLike<number>> {
  const flat = flatten(data, count);
  if (!flat.ok) return flat;
  const wrong = flat.value.findIndex((value) => typeof value !== 'number');
  return wrong < 0
    ? success(flat.value as number[])
    : failure(`images: expected numbers, got ${typeof flat.value[wrong]}`);
}

function jsonFiles(data: unknown, count: number, input: ImageSize): Result<ImageList> {
  const flat = flatten(data, count);
  if (!flat.ok) return flat;
  const texts = flat.value;
  const read = (index: number): Result<Float32Array> => {
    const text = texts[index];
    const field = `images[${index}]`;
    return typeof text === 'string' ? imageFromBase64(text, input, field) : failure(`${field}: expected base64`);
  };
  return success({ count, read });
}

function binaryFiles(binary: Uint8Array, count: number, input: ImageSize): Result<ImageList> {
  const elements = splitElements(binary, count);
  if (!elements.ok) return elements;
  return success({ count, read: (index) => imageFromFile(elements.value[index]!, input, `images[${index}]`) });
}

/** The `count` elements of a binary BYTES tensor; fails unless they fill `binary` exactly. */
export function splitElements(binary: Uint8Array, count: number): Result<Uint8Array[]> {
  const view = new DataView(binary.buffer, binary.byteOffset, binary.length);
  const elements: Uint8Array[] = [];
  let offset = 0;
  while (elements.length < count) {
    const start = offset + 4;
    const end = start <= binary.length ? start + view.getUint32(offset, true) : Infinity;
    if (end > binary.length) return failure(`images: element ${elements.length} ends behind the binary data`);
    elements.push(binary.subarray(start, end));
    offset = end;
  }
  if (offset === binary.length) return success(elements);
  return failure(`images: expected ${count} elements in ${offset} bytes, got ${binary.length} bytes`);
}

/** FP32 values as the bytes of a binary tensor. */
export function encodeFloats(values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, index) => view.setFloat32(4 * index, value, true));
  return new Uint8Array(view.buffer);
}

/** Texts as the bytes of a binary tensor of type BYTES. */
export function encodeElements(texts: readonly string[]): Uint8Array {
  const elements = texts.map(encodeText);
  const binary = new Uint8Array(elements.reduce((total, { length }) => total + 4 + length, 0));
  const view = new DataView(binary.buffer);
  let offset = 0;
  for (const element of elements) {
    view.setUint32(offset, element.length, true);
    binary.set(element, offset + 4);
    offset += 4 + element.length;
  }
  return binary;
}
