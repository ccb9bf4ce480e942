/** ONNX files that are damaged or made to harm: refused in a sentence, without a crash, without waiting, within bounded memory. */
import { open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { completeDraft } from '../../offline/import/imported.ts';
import { readOnnx } from '../../offline/import/onnx/onnx.ts';
import { testDirectory } from '../support/directory.ts';
import { classifier, floats, integers, ints, node, onnxBytes, type Node, type Tensor } from './onnx-build.ts';

/** The error of importing these bytes, with the path of the file as FILE, or `imported`. */
async function importError(bytes: Uint8Array): Promise<string> {
  const file = path.join(await testDirectory(), 'model.onnx');
  await writeFile(file, bytes);
  return errorOf(file);
}

/** The same for a file. */
async function errorOf(file: string): Promise<string> {
  const draft = await readOnnx(file, {});
  const model = draft.ok ? completeDraft(draft.value, {}) : draft;
  return model.ok ? 'imported' : model.error.replaceAll(file, 'FILE');
}

/** The small classifier with other tensors of the same names, and nodes before it that make `x` of `images`. */
function withTensors(...tensors: Tensor[]): Uint8Array {
  const { nodes, initializers } = classifier('images');
  const names = new Set(tensors.map(({ name }) => name));
  return onnxBytes({ nodes, initializers: [...initializers.filter(({ name }) => !names.has(name)), ...tensors] });
}

function withNodes(before: Node[], tensors: Tensor[] = []): Uint8Array {
  const { nodes, initializers } = classifier('x');
  return onnxBytes({ nodes: [...before, ...nodes], initializers: [...initializers, ...tensors] });
}

const varint = (value: bigint): number[] =>
  value < 128n ? [Number(value)] : [Number(value & 127n) | 128, ...varint(value >> 7n)];
const kernel = (fields: object): Tensor => ({ ...floats('kernel', [2, 3, 1, 1], [1, 2, 3, 4, 5, 6]), ...fields });
const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

it('the small classifier that these files are made of is imported', async () => {
  expect(await importError(withTensors())).toBe('imported');
  expect(await importError(withNodes([node('Relu', ['images'], 'x')]))).toBe('imported');
});

describe('refused:', () => {
  const files: [what: string, bytes: () => Uint8Array, error: RegExp][] = [
    ['nothing', () => new Uint8Array(0), /^FILE: expected an ONNX model, got a file without a graph$/],
    [
      'another kind of file',
      () => new TextEncoder().encode('{"format":"layers-model"}'),
      /^FILE: not an ONNX model, or damaged/,
    ],
    ['a message longer than the file', () => Uint8Array.of(0x3a, ...varint(2n ** 31n - 1n)), /longer than the file/],
    ['a length of 2^63', () => Uint8Array.of(0x3a, ...varint(2n ** 63n)), /^FILE: not an ONNX model, or damaged/],
    ['a varint without an end', () => new Uint8Array(1000).fill(255), /^FILE: not an ONNX model, or damaged/],
    ['groups within groups', () => new Uint8Array(1_000_000).fill(0x0b), /^FILE: not an ONNX model, or damaged/],
    [
      'a million empty nodes',
      () => Buffer.concat([Uint8Array.of(0x3a, ...varint(2_000_000n)), Buffer.alloc(2_000_000, '\n\0')]),
      /at most 500000/,
    ],
    ['a tensor of 2^62 numbers', () => withTensors(kernel({ dims: [2 ** 31, 2 ** 31] })), /"kernel"/],
    ['a tensor of 4 TB', () => withTensors(kernel({ dims: [2 ** 20, 2 ** 20, 1, 1] })), /"kernel"/],
    ['a tensor with a size below 0', () => withTensors(kernel({ dims: [-2, -3, 1, 1] })), /"kernel"/],
    [
      'a tensor with fewer bytes than it claims',
      () => withTensors(kernel({ dims: [2, 3, 1, 2] })),
      /"kernel" \[2,3,1,2\]: expected 48 bytes, got 24/,
    ],
    ['a tensor of text', () => withTensors(kernel({ dataType: 8 })), /"kernel": expected elements of float32/],
    [
      'weights that are no numbers',
      () => withTensors(kernel(floats('kernel', [2, 3, 1, 1], [1, 2, NaN, 4, 5, 6]))),
      /kernel/,
    ],
    [
      'infinite weights',
      () =>
        withTensors(
          floats(
            'matrix',
            [2, 4],
            times(8, () => Infinity),
          ),
        ),
      /matrix|kernel/,
    ],
    ['a node that reads its own result', () => withNodes([node('Add', ['images', 'x'], 'x')]), /Add \(node of x\)/],
    [
      'a reshape to 2^62',
      () => withNodes([node('Reshape', ['images', 'shape'], 'x')], [integers('shape', [0, 2 ** 31, 2 ** 31, 1])]),
      /Reshape \(node of x\)/,
    ],
    [
      'padding of 2^40',
      () => withNodes([node('Pad', ['images', 'pads'], 'x')], [integers('pads', [0, 0, 2 ** 40, 0, 0, 0, 0, 0])]),
      /Pad \(node of x\)/,
    ],
    [
      'strides of 0',
      () => withNodes([node('MaxPool', ['images'], 'x', [ints('kernel_shape', [1, 1]), ints('strides', [0, 0])])]),
      /MaxPool \(node of x\).*strides/,
    ],
    [
      'a window of 2^40',
      () => withNodes([node('MaxPool', ['images'], 'x', [ints('kernel_shape', [2 ** 40, 1])])]),
      /MaxPool \(node of x\)/,
    ],
    [
      'no groups',
      () =>
        onnxBytes({
          ...classifier('images'),
          nodes: classifier('images').nodes.map((item) => ({ ...item, attribute: [{ name: 'group', i: 0 }] })),
        }),
      /Conv \(node of conv\)/,
    ],
    [
      'a constant of 2^40 numbers',
      () =>
        withNodes(
          [node('ConstantOfShape', ['shape'], 'made'), node('Add', ['images', 'made'], 'x')],
          [integers('shape', [2 ** 20, 2 ** 20])],
        ),
      /ConstantOfShape \(node of made\)/,
    ],
    ['an image of 2^32 pixels', () => onnxBytes({ ...classifier('images'), input: [0, 3, 65_536, 65_536] }), /./],
  ];

  it.each(files)('%s', async (_, bytes, error) => {
    const message = await importError(bytes());
    expect(message).toMatch(error);
    expect(message.length).toBeLessThan(2000);
  });

  it('a folder', async () => {
    const folder = await testDirectory();
    expect(await errorOf(folder)).toBe('FILE: expected a file');
  });

  it('a file above the limit, before it is read', async () => {
    const file = path.join(await testDirectory(), 'model.onnx');
    await using handle = await open(file, 'w');
    await handle.truncate(2 ** 40);
    expect(await errorOf(file)).toBe(`FILE: expected at most ${2 ** 28} bytes, got ${2 ** 40}`);
  });
});

describe('a small file that asks for much is refused:', () => {
  const big = floats('big', [512, 512]);
  const axis = (value: number): object => ({ name: 'axis', i: value, type: 2 });
  /** `count` nodes that each read what the one before gives, twice. */
  const doubled = (first: string, count: number, along: number): Node[] =>
    times(count, (index) => {
      const input = index ? `y${index}` : first;
      return node('Concat', [input, input], index === count - 1 ? 'x' : `y${index + 1}`, [axis(along)]);
    });
  const chain = (opType: string, first: string, count: number): Node[] =>
    times(count, (index) => node(opType, [index ? `y${index}` : first], `y${index + 1}`));
  const added = (count: number): Node[] => [
    node('Add', ['images', 'y1'], 'x1'),
    ...times(count - 1, (index) =>
      node('Add', [`x${index + 1}`, `y${index + 2}`], index === count - 2 ? 'x' : `x${index + 2}`),
    ),
  ];
  const convolutions = times(2000, (index) => node('Conv', [index ? `y${index}` : 'wide', 'big'], `y${index + 1}`));
  const widened = node('Conv', ['images', 'widening'], 'wide');
  const square = floats(
    'big',
    [512, 512, 1, 1],
    times(512 * 512, () => 1),
  );

  const files: [what: string, bytes: () => Uint8Array][] = [
    [
      'a list that doubles',
      () => withNodes([...doubled('list', 40, 0), node('Reshape', ['images', 'x'], 'z')], [integers('list', [0, 3])]),
    ],
    ['activations that double', () => withNodes(doubled('images', 40, 1))],
    [
      'a constant computed again and again',
      () => withNodes([...chain('Neg', 'big', 2000), node('Add', ['images', 'y2000'], 'x')], [big]),
    ],
    [
      'a constant transposed again and again',
      () => withNodes([...chain('Transpose', 'big', 2000), node('Add', ['images', 'y2000'], 'x')], [big]),
    ],
    [
      'a constant transposed for many nodes',
      () => withNodes([...times(2000, (index) => node('Transpose', ['big'], `y${index + 1}`)), ...added(2000)], [big]),
    ],
    [
      'many layers that share a large tensor',
      () =>
        withNodes(
          [widened, ...convolutions, node('Relu', ['y2000'], 'x')],
          [square, floats('widening', [512, 3, 1, 1])],
        ),
    ],
    [
      'many choices of many channels',
      () =>
        withNodes(
          [
            widened,
            ...chain('Slice', 'wide', 4000).map((item) => ({
              ...item,
              input: [...item.input, 'start', 'end', 'channels', 'back'],
            })),
            node('Relu', ['y4000'], 'x'),
          ],
          [
            floats('widening', [65_536, 3, 1, 1]),
            ...['start', 'end', 'channels'].map((name, index) => integers(name, [[0, -1, 1][index]!])),
            integers('back', [1]),
          ],
        ),
    ],
  ];

  it.each(files)('%s', async (_, bytes) => {
    const file = bytes();
    const before = process.memoryUsage.rss();
    const start = performance.now();
    const error = await importError(file);
    const growth = process.memoryUsage.rss() - before;
    expect(error).not.toBe('imported');
    expect(performance.now() - start).toBeLessThan(5000);
    expect(growth).toBeLessThan(300e6);
  });
});
