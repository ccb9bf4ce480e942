/** What lies at a path that should be a model: told by names in a folder, by the extension of a file, else by its first bytes. */
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { Source } from '../../src/release/manifest.ts';
import { failure, success, type Result } from '../../src/result.ts';

/** A form of model and what its reader takes: a folder for a release or the project's own form, else a file. */
export type Recognised = { format: Source['format']; path: string };

const EXPECTED =
  'an .onnx, .h5, .keras or TensorFlow.js (model.json) file, a folder with model.json, a release (manifest.json) or a model directory (network.json)';
const EXPORT_ONNX =
  'a PyTorch file can run code when it is opened, so it is never read; export it in Python with torch.onnx.export(model.eval(), example, "model.onnx") and give that file';
const TFLITE =
  'a TensorFlow Lite file does not hold the model as it was trained; give the Keras model that it was made from (model.save("model.keras"))';
const SAVED_MODEL =
  'a SavedModel is a program rather than a model; load it in Python and write it with model.save("model.keras"), or convert it to ONNX with tf2onnx';

const EXTENSIONS = new Map<string, Source['format']>([
  ['.onnx', 'onnx'],
  ['.h5', 'h5'],
  ['.hdf5', 'h5'],
  ['.keras', 'keras'],
  ['.json', 'tfjs'],
]);
const REFUSED = new Map([
  ...['.pt', '.pth', '.pkl', '.pickle', '.bin', '.ckpt'].map((extension) => [extension, EXPORT_ONNX] as const),
  ['.tflite', TFLITE],
  ['.pb', SAVED_MODEL],
  ['.safetensors', 'weights alone are not a model; give the folder that holds its network.json too'],
]);
/** Enough of a file for the name of the first entry of a zip archive. */
const HEAD_BYTES = 512;

/** Recognises a model without reading it; the error says what was expected, or what to do with a form that is not read. */
export async function recogniseModel(path: string): Promise<Result<Recognised>> {
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) return await recogniseFolder(path);
    // Opening anything else, such as a pipe, could wait forever.
    if (!stats.isFile()) return failure(`${path}: expected a file or a folder`);
    if (basename(path) === 'network.json') return success({ format: 'network', path: dirname(path) });
    return await recogniseFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return failure(`${path}: ${code === 'ENOENT' ? 'no such file or folder' : `cannot be read (${message})`}`);
  }
}

async function recogniseFolder(path: string): Promise<Result<Recognised>> {
  const names = await readdir(path);
  if (names.includes('manifest.json')) return success({ format: 'release', path });
  if (names.includes('network.json')) return success({ format: 'network', path });
  if (names.includes('model.json')) return success({ format: 'tfjs', path: join(path, 'model.json') });
  if (names.includes('saved_model.pb')) return failure(`${path}: ${SAVED_MODEL}`);
  const models = names.filter((name) => EXTENSIONS.has(extname(name)) || REFUSED.has(extname(name))).toSorted();
  const held = models.length ? `that holds ${models.slice(0, 3).join(', ')}` : 'without a model in it';
  return failure(`${path}: expected ${EXPECTED}, got a folder ${held}`);
}

async function recogniseFile(path: string): Promise<Result<Recognised>> {
  const head = await readHead(path);
  const extension = extname(path).toLowerCase();
  // A pickle is refused whatever its name, and a Keras file is read whatever its name.
  const content = formOf(head);
  if (content === 'pickle') return failure(`${path}: ${EXPORT_ONNX}`);
  if (content === 'tflite') return failure(`${path}: ${TFLITE}`);
  if (content) return success({ format: content, path });
  const refused = REFUSED.get(extension);
  if (refused !== undefined) return failure(`${path}: ${refused}`);
  const format = EXTENSIONS.get(extension);
  return format ? success({ format, path }) : failure(`${path}: expected ${EXPECTED}, got a file of another kind`);
}

async function readHead(path: string): Promise<Buffer> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(HEAD_BYTES), length: HEAD_BYTES });
  return buffer.subarray(0, bytesRead);
}

/** What the first bytes say; a zip archive is told by the name of its first entry. */
function formOf(head: Buffer): 'h5' | 'keras' | 'pickle' | 'tflite' | undefined {
  const text = head.toString('latin1');
  if (text.startsWith('\x89HDF\r\n\x1a\n')) return 'h5';
  if (text.slice(4, 8) === 'TFL3') return 'tflite';
  // The header of a pickle of protocol 2 or above, as old PyTorch and Python write it.
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) return 'pickle';
  if (!text.startsWith('PK\x03\x04') || head.length < 30) return undefined;
  const entry = text.slice(30, 30 + head.readUInt16LE(26));
  if (/(^|\/)(data\.pkl|\.format_version|\.storage_alignment|byteorder|version|constants\.pkl)$/.test(entry))
    return 'pickle';
  return /^(metadata|config)\.json$|\.h5$/.test(entry) ? 'keras' : undefined;
}
