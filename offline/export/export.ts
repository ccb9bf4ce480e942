/** Writes a model in the format of another program, or in the project's own. */
import type { Result } from '../../src/result.ts';
import { writeDirectory, writeNewFile } from '../directory.ts';
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
