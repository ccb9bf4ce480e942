/** The committed example: a victim and three clean models on Fashion-MNIST, and images that none of them was trained on (example/make.ts). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { accept, Stop } from '../commands/outcome.ts';
import { readImages } from '../commands/setup.ts';
import type { Dataset } from '../data/dataset.ts';
import { loadModel, type Model } from '../model.ts';

const FOLDER = join(import.meta.dirname, '..', 'example');
const CLEAN_MODELS = ['clean-1', 'clean-2', 'clean-3'];
const cardSchema = z.object({ targetLabel: z.int().min(0) });

export type Example = {
  victim: Model;
  /** What the attacker wants; for evaluation only. */
  targetLabel: number;
  cleanModels: { name: string; model: Model }[];
  /** The defender's images. */
  clean: Dataset;
  test: Dataset;
  /** The test images with the true trigger and their true labels. */
  triggered: Dataset;
};

/** Loads the example. */
export async function loadExample(): Promise<Example> {
  const victim = accept(await loadModel(join(FOLDER, 'victim')));
  const cardFile = join(FOLDER, 'victim', 'card.json');
  const card = cardSchema.safeParse(JSON.parse(await readFile(cardFile, 'utf8')));
  if (!card.success) throw new Stop(`${cardFile}: targetLabel: expected a label`);
  const cleanModels: Example['cleanModels'] = [];
  for (const name of CLEAN_MODELS) cleanModels.push({ name, model: accept(await loadModel(join(FOLDER, name))) });
  const images = (name: string): Promise<Dataset> =>
    readImages(join(FOLDER, `${name}.safetensors`), victim.network, true);
  return {
    victim,
    targetLabel: card.data.targetLabel,
    cleanModels,
    clean: await images('clean-500'),
    test: await images('test-2000'),
    triggered: await images('test-2000-triggered'),
  };
}
