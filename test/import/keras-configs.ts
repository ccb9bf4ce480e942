/** Model configs as Keras writes them, and archives that hold them. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { unzipSync, zipSync } from 'fflate';

export type Config = Record<string, unknown>;

const folder = path.join(import.meta.dirname, '../models/keras');

/** The files in a .keras archive of the fixtures. */
export const members = async (name: string): Promise<Record<string, Uint8Array>> =>
  unzipSync(await readFile(path.join(folder, name)));

/** A .keras file of a model with this config; what it says of weights is another model's. */
export async function archiveOf(config: unknown): Promise<Uint8Array> {
  const { 'model.weights.h5': weights } = await members('lenet.keras');
  return zipSync({ 'config.json': new TextEncoder().encode(JSON.stringify(config)), 'model.weights.h5': weights! });
}

/** The input of an image [8,8,3]. */
export const input = { class_name: 'InputLayer', config: { name: 'in', batch_shape: [null, 8, 8, 3] }, name: 'in' };
/** A layer, as both models list them. */
export const layer = (className: string, name: string, config: Config = {}): Config => ({
  class_name: className,
  config: { ...config, name },
});
/** A Sequential model on images [8,8,3]. */
export const sequential = (...layers: Config[]): Config => ({
  class_name: 'Sequential',
  config: { name: 'model', layers: [input, ...layers] },
});
