/** What a model is made of, for people and as JSON: input, layers, cuts, the memory it takes at the edge. */
import { cutCosts, ISOLATE_LIMIT_BYTES, layerCosts } from '../../src/network/cost.ts';
import { foldBatchNorm } from '../../src/network/fold.ts';
import type { Input } from '../../src/network/input.ts';
import { featureCount } from '../../src/release/guard.ts';
import type { Imported, OpenedModel } from '../import/open.ts';
import { counted, table } from './text.ts';

const COLUMNS = 100;
const SHORTEST_NAME = 16;
const FORMATS = {
  release: 'release',
  network: 'model directory',
  onnx: 'ONNX',
  h5: 'Keras HDF5',
  keras: 'Keras',
  tfjs: 'TensorFlow.js',
};
const ORIGINS = { file: 'read from the file', given: 'given', guessed: 'guessed' };
type Inspected = ReturnType<typeof inspectedJson>;

/** Layers with shapes and costs, cuts with the memory of an isolate that serves a release parted there, and where each input setting came from. */
export function inspectedJson({ path, network, weights, source, imported }: OpenedModel) {
  const layers = layerCosts(network);
  const folded = foldBatchNorm(network, weights).network;
  const cuts = cutCosts(folded).map(({ cut, memoryBytes }) => {
    const features = featureCount(folded, cut);
    return {
      cut,
      features: features.ok ? features.value : null,
      memoryBytes,
      fits: memoryBytes <= ISOLATE_LIMIT_BYTES,
    };
  });
  const total = (of: (layer: (typeof layers)[number]) => number): number =>
    layers.reduce((sum, layer) => sum + of(layer), 0);
  return {
    path,
    format: source.format,
    digest: source.digest,
    image: network.input,
    labelNames: network.labelNames,
    input: imported && source.input ? settings(source.input, imported) : null,
    layers,
    parameters: total(({ parameters }) => parameters),
    macs: total(({ macs }) => macs),
    cuts,
    isolateLimitBytes: ISOLATE_LIMIT_BYTES,
  };
}

/** Every setting of the input with where it came from. */
function settings(input: Input, { draft, given }: Imported) {
  const names = ['layout', 'channels', 'scale', 'mean', 'std'] as const;
  const ordered = draft.input.channelCount === 3;
  return names.flatMap((name) => {
    if (name === 'channels' && !ordered) return [];
    const origin = given[name] === undefined ? (draft.input[name] === undefined ? 'guessed' : 'file') : 'given';
    return [{ name, value: input[name], origin } as const];
  });
}

/** The same as text of at most 100 columns. */
export function formatInspected(inspected: Inspected): string {
  const { path, format, image, labelNames } = inspected;
  const shape = `images of ${image.height} x ${image.width} x ${image.channels}`;
  return [
    `${path}: ${FORMATS[format]}, ${shape}, ${counted(labelNames.length, 'label')}${namesOf(labelNames)}`,
    '',
    formatInput(inspected),
    '',
    formatLayers(inspected),
    '',
    formatMemory(inspected),
  ].join('\n');
}

function namesOf(labelNames: readonly string[]): string {
  if (labelNames.every((name, label) => name === `${label}`)) return '';
  return ` (${labelNames.slice(0, 3).join(', ')}${labelNames.length > 3 ? ', ...' : ''})`;
}

function formatInput({ input }: Inspected): string {
  if (!input) return 'The input is images of 0..1; a normalize layer, if there is one, scales them.';
  const rows = input.map(({ name, value, origin }) => {
    const values = Array.isArray(value) ? value : [value];
    const shown = values.every((item) => item === values[0]) ? `${values[0]}` : values.map(rounded).join(', ');
    return [name, shown, ORIGINS[origin]];
  });
  const guessed = input.some(({ origin }) => origin === 'guessed')
    ? '\nscan, purify and evaluate check what is guessed on the clean images.'
    : '';
  return `The file takes (scale * images - mean) / std for images of 0..1:\n${table(rows)}${guessed}`;
}

const rounded = (value: number | string): string => (typeof value === 'number' ? `${+value.toPrecision(5)}` : value);

function formatLayers({ layers, cuts, parameters, macs }: Inspected): string {
  const cutOf = new Map(cuts.map((item) => [item.cut, item]));
  const heads = [
    ['layer', 'type', 'output'],
    ['parameters', 'MACs', 'features', 'edge MB'],
  ] as const;
  const text = layers.map(({ name, type, output }) => [name, type, output.join('x')]);
  const numbers = layers.map((layer) => {
    const cut = cutOf.get(layer.name);
    const edge = cut ? [`${cut.features ?? ''}`, megabytes(cut.memoryBytes)] : ['', ''];
    return [layer.parameters ? grouped(layer.parameters) : '', compact(layer.macs), ...edge];
  });
  const right = rightAligned([[...heads[1]], ...numbers, [grouped(parameters), compact(macs), '', '']]);
  const left = [[...heads[0]], ...text, ['total', '', '']];
  const widest = (column: number): number => Math.max(...left.map((row) => row[column]!.length));
  // Two columns of text and the numbers beside the name, two spaces before each.
  const taken = 2 + widest(1) + 2 + widest(2) + right[0]!.reduce((sum, cell) => sum + 2 + cell.length, 0);
  const room = Math.max(SHORTEST_NAME, COLUMNS - taken - 2);
  return `${table(left.map(([name, ...others], row) => [shortened(name!, room), ...others, ...right[row]!]))}

  A layer with features is a candidate cut: a guard would watch there, on that many features.
  Edge MB is the memory of an isolate that serves a release parted there.`;
}

function formatMemory({ cuts }: Inspected): string {
  const limit = `an isolate of ${ISOLATE_LIMIT_BYTES / 1e6} MB`;
  if (!cuts.length) return 'The network has no cut with weights behind it, so no release can be made of it.';
  const sizes = cuts.map(({ memoryBytes }) => memoryBytes);
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)].map(megabytes) as [string, string];
  const range = least === most ? `${least} MB` : `${least} to ${most} MB`;
  const fitting = cuts.filter(({ fits }) => fits);
  const verdict =
    fitting.length === cuts.length
      ? `fits ${limit} wherever it is cut`
      : fitting.length
        ? `fits ${limit} if it is cut at ${fitting[0]!.cut} or later`
        : `does not fit ${limit}`;
  return `At the edge it takes ${range}, estimated within 7 %: it ${verdict}.`;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0);
const grouped = (value: number): string => value.toLocaleString('en-US');

function compact(value: number): string {
  if (value === 0) return '';
  const power = Math.min(3, Math.floor(Math.log10(value) / 3));
  return power === 0 ? `${value}` : `${(value / 1000 ** power).toPrecision(3)} ${['', 'k', 'M', 'G'][power]!}`;
}

function rightAligned(rows: readonly (readonly string[])[]): string[][] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column]!)));
}

/** The end of a name says more than its beginning. */
const shortened = (name: string, room: number): string => (name.length <= room ? name : `...${name.slice(3 - room)}`);
