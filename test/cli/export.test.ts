/** `export` through the real process: a signed release in every format, and never over what is there. */
import { tensor, tidy, type Tensor } from '@tensorflow/tfjs-core';
import { readdir, readFile, rm } from 'node:fs/promises';
import * as ort from 'onnxruntime-web';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadModel } from '../../offline/model.ts';
import { expectedLogits } from '../export/cases.ts';
import { loadTfjs } from '../export/load-tfjs.ts';
import { useBackend } from '../network/backends.ts';
import { expectClose, randomImages } from '../network/networks.ts';
import { testNetwork } from '../support/release.ts';
import { writeCliFiles } from './files.ts';
import { run } from './process.ts';

let files: Awaited<ReturnType<typeof writeCliFiles>>;
beforeAll(async () => {
  files = await writeCliFiles();
  await useBackend('cpu');
});
afterAll(() => rm(files.root, { recursive: true }));

const images = randomImages(testNetwork, 3, 1);
const readers: Record<string, (path: string) => Promise<ArrayLike<number>>> = {
  onnx: async (path) => {
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(await readFile(path));
    const { logits } = await session.run({ images: new ort.Tensor('float32', images.data, images.shape) });
    return logits!.data as Float32Array;
  },
  tfjs: async (path) => {
    const names = await readdir(path);
    const contents = await Promise.all(names.map((name) => readFile(`${path}/${name}`)));
    const model = await loadTfjs(new Map(names.map((name, index) => [name, contents[index]!])));
    return tidy(() => (model.predict(tensor(images.data, images.shape)) as Tensor).dataSync());
  },
  safetensors: async (path) => {
    const model = await loadModel(path);
    if (!model.ok) throw new Error(model.error);
    return expectedLogits(model.value, images);
  },
};

test.each(Object.keys(readers))(
  'a release goes out as %s with the same logits, and only to a new place',
  async (format) => {
    const out = files.at(`exported-${format}${format === 'onnx' ? '.onnx' : ''}`);
    const args = ['export', files.at('release'), '--to', format, '--out', out, '--key', files.at('key.pub')];
    const first = await run([...args, '--json']);
    expect(first.code, first.stderr).toBe(0);
    expect(JSON.parse(first.stdout)).toEqual({ format, path: out });
    const expected = expectedLogits({ network: testNetwork, weights: files.content.weights }, images);
    expectClose(await readers[format]!(out), expected, 1e-4);

    const second = await run(args);
    expect(second.stderr).toBe(`error: ${out}: expected a new ${format === 'onnx' ? 'file' : 'or empty directory'}\n`);
    expect(second.code).toBe(2);
    expect((await readdir(files.root)).filter((name) => name.startsWith('.'))).toEqual([]);
  },
);

test('a model directory goes out too', async () => {
  const { code, stdout } = await run([
    'export',
    files.at('model'),
    '--to',
    'onnx',
    '--out',
    files.at('new/model.onnx'),
  ]);
  expect(stdout).toBe(`Written as onnx to ${files.at('new/model.onnx')}\n`);
  expect(code).toBe(0);
});

test.each([
  ['release', 'onnx', 'other.pub', 'error: @release: signature'],
  ['tampered', 'onnx', 'key.pub', 'error: @tampered: weights.safetensors: the digest does not match the signature'],
  ['release', 'keras', 'key.pub', 'error: --to: expected one of onnx, tfjs, safetensors, got "keras"'],
])('%s to %s with %s is refused and leaves nothing behind', async (model, format, key, expected) => {
  const out = files.at('refused');
  const args = ['export', files.at(model), '--to', format, '--out', out, '--key', files.at(key)];
  const { code, stdout, stderr } = await run(args);
  expect(stderr).toContain(expected.replaceAll(/@(\w+)/g, (_, name: string) => files.at(name)));
  expect(stdout).toBe('');
  expect(code).toBe(2);
  expect(await readdir(files.root)).not.toContain('refused');
});
