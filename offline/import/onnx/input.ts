/** The input of an ONNX model: its name, its layout and its size, from the file or from the user. */
import { IMAGES } from '../../../src/network/network.ts';
import type { GivenInput } from '../imported.ts';
import type { OnnxGraph, OnnxValueInfo } from './proto.ts';
import { refuse } from './refusal.ts';
import { valueOf, type Value } from './value.ts';

export type ModelInput = {
  name: string;
  layout: 'nhwc' | 'nchw';
  height: number;
  width: number;
  channels: number;
  /** The size of the batch if the file fixes it, else NaN. */
  batch: number;
  value: Value;
};

/** Reads the only input that is no initialiser; where the file leaves its layout or size open, the user has to say them. */
export function readInput(graph: OnnxGraph, given: GivenInput): ModelInput {
  const initialised = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input.filter(({ name }) => !initialised.has(name));
  const [input] = inputs;
  if (!input || inputs.length > 1) {
    return refuse(
      `inputs: expected one, the images, got ${
        inputs
          .map(({ name }) => name)
          .slice(0, 8)
          .join(', ') || 'none'
      }`,
    );
  }
  const [batch, ...sizes] = inputSizes(input);
  const layout = given.layout ?? guessedLayout(sizes) ?? refuse(layoutSentence(input.name, sizes));
  const [height = 0, width = 0, channels = 0] = layout === 'nhwc' ? sizes : [sizes[1]!, sizes[2]!, sizes[0]!];
  const size = {
    height: height || (given.size?.height ?? refuse(sizeSentence(input.name))),
    width: width || (given.size?.width ?? refuse(sizeSentence(input.name))),
  };
  if (given.size && (given.size.height !== size.height || given.size.width !== size.width)) {
    refuse(
      `--size: expected ${size.height}x${size.width}, which the file fixes, got ${given.size.height}x${given.size.width}`,
    );
  }
  const fits = [size.height, size.width, channels].every((value) => Number.isSafeInteger(value) && value <= 65_536);
  if (!fits || channels < 1)
    refuse(`input "${input.name}": expected 1 to 65536 channels and pixels, got [${sizes.join(',')}]`);
  const value = valueOf(IMAGES, [size.height, size.width, channels], layout === 'nhwc' ? [0, 1, 2] : [2, 0, 1]);
  return { name: input.name, layout, ...size, channels, batch: batch || Number.NaN, value };
}

/** The four sizes of an input, 0 where the file leaves one open. */
function inputSizes({ name, type }: OnnxValueInfo): number[] {
  const dims = type?.tensorType?.shape?.dim;
  if (dims?.length !== 4) {
    return refuse(`input "${name}": expected images of 4 axes, got ${dims ? `${dims.length}` : 'an unknown number'}`);
  }
  return dims.map(({ dimValue }) => (Number.isSafeInteger(dimValue) && dimValue > 0 ? dimValue : 0));
}

/** Channels are few: the axis of 1, 3 or 4 is theirs, if there is only one such axis first or last. */
function guessedLayout([first = 0, , last = 0]: readonly number[]): 'nhwc' | 'nchw' | undefined {
  const few = (size: number): boolean => size === 1 || size === 3 || size === 4;
  if (few(first) && !few(last)) return 'nchw';
  return few(last) && !few(first) ? 'nhwc' : undefined;
}

const layoutSentence = (name: string, sizes: readonly number[]): string =>
  `input "${name}" [batch,${sizes.map((size) => size || '?').join(',')}]: where its channels are cannot be seen; give --layout nchw or --layout nhwc`;

const sizeSentence = (name: string): string =>
  `input "${name}": its height and width are not fixed in the file; give --size, as in --size 32x32`;
