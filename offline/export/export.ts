/** Writes a model in the format of another program, or in the project's own. */
import { randomUUID } from 'node:crypto';
import { lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { failure, success, type Result } from '../../src/result.ts';
import { writeDirectory } from '../directory.ts';
import { saveModel, type Model } from '../model.ts';
import { encodeOnnx } from './onnx.ts';
import { encodeTfjs } from './tfjs.ts';

/** The formats that a model can be written in; ONNX is one file, the others are folders. */
export const EXPORT_FORMATS = ['onnx', 'tfjs', 'safetensors'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Writes the model into a new file or a new or empty folder, whole or not at all; the error names the place, or what the format cannot say. */
export async function exportModel(model: Model, format: ExportFormat, out: string): Promise<Result<null>> {
  if (format === 'safetensors') return saveModel(out, model);
  if (format === 'onnx') return writeNewFile(out, encodeOnnx(model));
  const files = encodeTfjs(model);
  return files.ok ? writeDirectory(out, files.value) : files;
}

async function writeNewFile(file: string, bytes: Uint8Array): Promise<Result<null>> {
  const target = resolve(file);
  const temporary = join(dirname(target), `.${basename(target)}-${randomUUID()}`);
  const taken = await lstat(target).then(
    () => true,
    () => false,
  );
  if (taken) return failure(`${file}: expected a new file`);
  try {
    await mkdir(dirname(target), { recursive: true });
    await writeFile(temporary, bytes, { flush: true });
    await rename(temporary, target);
    return success(null);
  } catch (error) {
    await rm(temporary, { force: true });
    return failure(`${file}: cannot be written (${(error as Error).message})`);
  }
}
