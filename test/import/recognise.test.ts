import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { describe, expect, test } from 'vitest';
import { recogniseModel } from '../../offline/import/recognise.ts';
import { testDirectory } from '../support/directory.ts';

const HDF5 = Buffer.from('\x89HDF\r\n\x1a\n', 'latin1');
const zip = (...names: string[]): Uint8Array =>
  zipSync(Object.fromEntries(names.map((name) => [name, new Uint8Array(3)])));

/** What is made of a file of this name and content, its path left out of messages. */
async function recognise(name: string, content: Uint8Array): Promise<string> {
  const root = await testDirectory();
  await writeFile(join(root, name), content);
  const result = await recogniseModel(join(root, name));
  return result.ok ? result.value.format : result.error.replace(join(root, name), name);
}

describe('recogniseModel', () => {
  test.each<[string, string, Uint8Array]>([
    ['onnx', 'model.onnx', Buffer.of(8, 7)],
    ['onnx', 'MODEL.ONNX', new Uint8Array(0)],
    ['h5', 'model.h5', HDF5],
    ['h5', 'model.hdf5', HDF5],
    ['h5', 'model.keras', HDF5],
    ['h5', 'model', HDF5],
    ['keras', 'model.keras', zip('metadata.json', 'config.json', 'model.weights.h5')],
    ['keras', 'model', zip('config.json', 'model.weights.h5')],
    ['keras', 'model.keras', new Uint8Array(0)],
    ['tfjs', 'anything.json', Buffer.from('{}')],
    ['network', 'network.json', Buffer.from('{}')],
  ])('takes as %s: %s', async (format, name, content) => {
    expect(await recognise(name, content)).toBe(format);
  });

  test.each<[string, Uint8Array]>([
    ['model.pt', zip('archive/data.pkl', 'archive/version')],
    ['model.pth', new Uint8Array(0)],
    ['model.pkl', new Uint8Array(0)],
    ['pytorch_model.bin', new Uint8Array(0)],
    ['last.ckpt', new Uint8Array(0)],
    ['renamed.onnx', zip('model/data.pkl')],
    ['renamed.keras', zip('model/.format_version', 'model/data.pkl')],
    ['old-pytorch.h5', Buffer.of(0x80, 2, 0x8a, 10)],
    ['pickle', Buffer.of(0x80, 4, 0x95)],
  ])('refuses the pickle %s, whatever its name, and says how to export it', async (name, content) => {
    expect(await recognise(name, content)).toBe(
      `${name}: a PyTorch file can run code when it is opened, so it is never read; ` +
        'export it in Python with torch.onnx.export(model.eval(), example, "model.onnx") and give that file',
    );
  });

  test.each<[string, Uint8Array, string]>([
    ['model.tflite', new Uint8Array(0), 'a TensorFlow Lite file does not hold the model as it was trained'],
    ['renamed.onnx', Buffer.from('\x1c\0\0\0TFL3'), 'a TensorFlow Lite file'],
    [
      'saved_model.pb',
      new Uint8Array(0),
      'write it with model.save("model.keras"), or convert it to ONNX with tf2onnx',
    ],
    ['model.safetensors', new Uint8Array(0), 'give the folder that holds its network.json too'],
    ['model.txt', Buffer.from('text'), 'expected an .onnx, .h5, .keras or TensorFlow.js (model.json) file'],
    ['archive.zip', zip('readme.txt'), 'got a file of another kind'],
    ['cut', Buffer.from('PK\x03\x04'), 'got a file of another kind'],
  ])('refuses %s and says what to give instead', async (name, content, sentence) => {
    const said = await recognise(name, content);
    expect(said).toContain(sentence);
    expect(said.startsWith(`${name}: `)).toBe(true);
  });

  test.each([
    ['release', 'manifest.json', ''],
    ['network', 'network.json', ''],
    ['tfjs', 'model.json', 'model.json'],
  ])('takes as %s a folder with %s', async (format, name, file) => {
    const root = await testDirectory();
    await writeFile(join(root, name), '');
    expect(await recogniseModel(root)).toEqual({ ok: true, value: { format, path: join(root, file) } });
  });

  test.each([
    [['saved_model.pb'], 'a SavedModel is a program rather than a model'],
    [['b.onnx', 'a.h5', 'notes.txt'], 'got a folder that holds a.h5, b.onnx'],
    [['notes.txt'], 'got a folder without a model in it'],
  ])('refuses a folder of %s', async (names, sentence) => {
    const root = await testDirectory();
    for (const name of names) await writeFile(join(root, name), '');
    expect(await recogniseModel(root)).toMatchObject({ ok: false, error: expect.stringContaining(sentence) as string });
  });

  test('says that there is nothing at the path, or neither a file nor a folder', async () => {
    const path = join(await testDirectory(), 'nothing.onnx');
    expect(await recogniseModel(path)).toEqual({ ok: false, error: `${path}: no such file or folder` });
    expect(await recogniseModel('/dev/null')).toEqual({ ok: false, error: '/dev/null: expected a file or a folder' });
  });
});
