/** A tiny model, its release and images, as the files that commands read. */
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveDataset } from '../../offline/data/tensors.ts';
import type { Dataset } from '../../offline/data/dataset.ts';
import { saveModel } from '../../offline/model.ts';
import { publicKeyPem } from '../../src/release/encoding.ts';
import type { Result } from '../../src/result.ts';
import { createKey, signedRelease, testContent, testNetwork } from '../support/release.ts';

const expectOk = (result: Result<unknown>): void => {
  if (!result.ok) throw new Error(result.error);
};

/** Images [count,height,width,1] with a label each. */
export function images(labels: readonly number[], height = 8, width = 8): Dataset {
  const data = Uint8Array.from({ length: labels.length * height * width }, (_, index) => (index * 7919 + 31) % 256);
  const shape = { count: labels.length, height, width, channels: 1 };
  return { ...shape, images: data, labels: Int32Array.from(labels), labelNames: null };
}

/** Writes everything into a new temporary directory. */
export async function writeCliFiles() {
  const root = await mkdtemp(join(tmpdir(), 'trigger-guard-cli-'));
  const at = (name: string): string => join(root, name);
  const key = await createKey();
  const content = testContent();
  const release = await signedRelease(key, content);
  for (const [folder, files] of [
    ['release', release.files],
    ['tampered', tamper(release.files)],
  ] as const) {
    await mkdir(at(folder));
    for (const [name, bytes] of files) await writeFile(join(at(folder), name), bytes);
  }
  await writeFile(at('key.pub'), publicKeyPem(key.publicKey));
  await writeFile(at('other.pub'), publicKeyPem((await createKey()).publicKey));
  expectOk(await saveModel(at('model'), { network: testNetwork, weights: content.weights }));
  const labels = Array.from({ length: 30 }, (_, index) => index % 3);
  expectOk(await saveDataset(at('clean.safetensors'), images(labels)));
  expectOk(await saveDataset(at('large.safetensors'), images(labels, 9, 8)));
  expectOk(await saveDataset(at('two-labels.safetensors'), images([0, 1, 0, 1])));
  return { root, at, key, content, digest: release.digest };
}

function tamper(files: ReadonlyMap<string, Uint8Array>): Map<string, Uint8Array> {
  const weights = files.get('weights.safetensors')!.slice();
  weights[weights.length - 1]! ^= 1;
  return new Map(files).set('weights.safetensors', weights);
}
