/** Keras files that cannot be imported: what the one sentence says. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { zipSync } from 'fflate';
import { File, ready } from 'h5wasm';
import { expect, it } from 'vitest';
import type { GivenInput } from '../../offline/import/imported.ts';
import { readKeras } from '../../offline/import/keras/keras.ts';
import { testDirectory } from '../support/directory.ts';
import { archiveOf, input, layer, members, sequential, type Config } from './keras-configs.ts';

async function refusal(bytes: Uint8Array, given: GivenInput = {}): Promise<string> {
  const file = path.join(await testDirectory(), 'model');
  await writeFile(file, bytes);
  const draft = await readKeras(file, given);
  expect(draft.ok).toBe(false);
  return draft.ok ? '' : draft.error.replace(`${file}: `, '');
}

/** A layer of a Functional model of Keras 2, called once for each list of inputs. */
const called = (item: Config, ...calls: (string | unknown[])[][]): Config => ({
  ...item,
  name: (item['config'] as Config)['name'],
  inbound_nodes: calls.map((inputs) => inputs.map((from) => (typeof from === 'string' ? [from, 0, 0, {}] : from))),
});
const functional = (output: string, ...layers: Config[]): Config => ({
  class_name: 'Functional',
  config: {
    name: 'model',
    layers: [{ ...input, inbound_nodes: [] }, ...layers],
    input_layers: [['in', 0, 0]],
    output_layers: [[output, 0, 0]],
  },
});
const conv = (name: string, config: Config = {}): Config =>
  layer('Conv2D', name, { filters: 2, kernel_size: [3, 3], ...config });

it('names all unsupported layers at once, with class, name and what is not supported', async () => {
  const inner = layer('Sequential', 'inner', { layers: [layer('LSTM', 'memory')] });
  const error = await refusal(
    await archiveOf(
      sequential(
        layer('Lambda', 'secret'),
        conv('first', { data_format: 'channels_first' }),
        inner,
        layer('ReLU', 'four', { max_value: 4 }),
        conv('second', { activation: 'softplus' }),
        { ...conv('third'), module: 'my.layers' },
        layer('Dropout', 'fine'),
      ),
    ),
  );
  expect(error).toMatch(/^unsupported layers: [^\n]*$/);
  const named = [
    'Lambda "secret"',
    'Conv2D "first" (data_format',
    'LSTM "memory"',
    'ReLU "four" (',
    'Conv2D "second" (activation: no counterpart of "softplus")',
    'my.layers.Conv2D "third"',
  ];
  for (const part of named) expect(error).toContain(part);
  expect(error).not.toContain('fine');
});

it.each<[string, Config, string]>([
  [
    'a layer that is called twice',
    functional('b', called(conv('a'), ['in'], ['a']), called(layer('Add', 'b'), ['a', 'in'])),
    'Conv2D "a" (called more than once)',
  ],
  [
    'a second output of a layer',
    functional('a', called(conv('a'), [['in', 0, 1, {}]])),
    'Conv2D "a" (reads a second output',
  ],
  [
    'dropout that is left on',
    functional('a', called(layer('Dropout', 'a'), [['in', 0, 0, { training: true }]])),
    'Dropout "a" (called with training)',
  ],
  ['layers in a circle', functional('a', called(conv('a'), ['b']), called(conv('b'), ['a'])), 'Conv2D "a", Conv2D "b"'],
  ['an output that is not there', functional('z', called(conv('a'), ['in'])), 'the output "z" is not a layer'],
  [
    'a name used twice',
    functional('a', called(conv('a'), ['in']), called(conv('a'), ['in'])),
    'layer "a": the name is used twice',
  ],
  ['a billion filters', sequential(conv('a', { filters: 1e9 })), 'Conv2D "a" (filters'],
  [
    'weights that are not there',
    sequential(
      layer('Flatten', 'flat'),
      layer('Dense', 'a', { units: 4 }),
      layer('Dense', 'b', { units: 4 }),
      layer('Dense', 'c', { units: 4 }),
      layer('Dense', 'd', { units: 4 }),
    ),
    'Dense "d": expected its weight "kernel" as data set "layers/dense_3/vars/0", got none',
  ],
  [
    'a subclassed model',
    { class_name: 'MyModel', config: {} },
    'expected a Sequential or Functional model, got "MyModel"',
  ],
  [
    'a model of vectors',
    { class_name: 'Sequential', config: { layers: [{ ...input, config: { batch_shape: [null, 784] } }] } },
    'expected a model of images [H,W,C], but its input is [784]',
  ],
  [
    'an image of 2^40 pixels',
    {
      class_name: 'Sequential',
      config: { layers: [{ ...input, config: { batch_shape: [null, 2 ** 20, 2 ** 20, 3] } }] },
    },
    'expected sizes in 1..65536',
  ],
])('refuses %s', async (_, config, said) => {
  expect(await refusal(await archiveOf(config))).toContain(said);
});

it('refuses models nested without end', async () => {
  let config = sequential(conv('a'));
  for (let depth = 0; depth < 1000; depth++)
    config = { class_name: 'Sequential', config: { name: 'x', layers: [config] } };
  expect(await refusal(await archiveOf(config))).toContain('expected at most 16 models within each other');
});

it('refuses JSON nested a million deep', async () => {
  const { 'model.weights.h5': weights } = await members('lenet.keras');
  const text = `{"class_name":"Sequential","config":${'['.repeat(1e6)}${']'.repeat(1e6)}}`;
  const archive = zipSync({ 'config.json': new TextEncoder().encode(text), 'model.weights.h5': weights! });
  expect(await refusal(archive)).toContain('layers.0: ');
});

it('asks for the size of the images where the model leaves it open, and holds it to what the model states', async () => {
  const open = { ...input, config: { batch_shape: [null, null, null, 3] } };
  const model = await archiveOf({ class_name: 'Sequential', config: { layers: [open, layer('Flatten', 'flat')] } });
  expect(await refusal(model)).toContain('[?,?,3]): give it with --size');
  const file = path.join(await testDirectory(), 'model.keras');
  await writeFile(file, model);
  const sized = await readKeras(file, { size: { height: 24, width: 20 } });
  expect(sized).toMatchObject({
    ok: true,
    value: { input: { height: 24, width: 20, channelCount: 3, layout: 'nhwc' } },
  });
  expect(await refusal(await archiveOf(sequential()), { size: { height: 9, width: 8 } })).toContain(
    '--size: expected 8 x 8',
  );
});

it('refuses what is no Keras model, weights alone, and an archive that lacks its parts', async () => {
  expect(await refusal(new Uint8Array(100))).toContain('expected a Keras model');
  expect(await refusal(new Uint8Array())).toContain('expected a Keras model');
  const { 'model.weights.h5': weights, ...rest } = await members('lenet.keras');
  expect(await refusal(weights!)).toContain('got weights alone');
  expect(await refusal(zipSync(rest))).toContain('expected a file "model.weights.h5" in the archive');
});

it('refuses a data set that claims more than its file holds', async () => {
  const { FS } = await ready;
  const made = new File('/claims.h5', 'w', { libver: ['earliest', 'latest'] });
  const group = made.create_group('model_weights');
  const chunked = { name: 'kernel', shape: [300, 40], maxshape: [null, null], chunks: [300, 40] };
  group.create_dataset({ ...chunked, data: new Float32Array(12_000) });
  made.close();
  const bytes = Buffer.from(FS.readFile('/claims.h5'));
  const at = bytes.indexOf(Buffer.from(new BigUint64Array([300n, 40n]).buffer));
  bytes.writeBigUInt64LE(2n ** 40n, at);
  expect(await refusal(bytes)).toBe(
    `data set "model_weights/kernel": expected no more than the file's ${bytes.length} bytes, got ${2 ** 40 * 160}`,
  );
});

it('refuses a member that claims terabytes, or inflates to more than it claims', async () => {
  const bytes = Buffer.from(zipSync(await members('lenet.keras'), { level: 9 }));
  const entry = bytes.lastIndexOf('model.weights.h5') - 46;
  const size = bytes.readUInt32LE(entry + 24);
  bytes.writeUInt32LE(0xffff_ffff, entry + 24);
  expect(await refusal(bytes)).toContain('expected at most 268435456 bytes, got 4294967295');
  bytes.writeUInt32LE(Math.floor(size / 2), entry + 24);
  expect(await refusal(bytes)).toContain('got what is damaged');
});
