/** The triggers of an attack that follow from it and the training images alone. */
import type { Dataset } from '../data/dataset.ts';
import { targetLabels, type PlantedAttack } from './attack.ts';
import { patchTrigger, randomPatch } from './badnets.ts';
import { additivePattern, blendedNoise, meanImage, sinusoid } from './patterns.ts';
import { fixed, type PlantedTrigger } from './planted-trigger.ts';
import { smoothFlow } from './warp.ts';

/** One trigger for each of the attack's target labels; those of TrojanNN and IMC as they are before they are optimised. */
export function drawTriggers(attack: PlantedAttack, train: Dataset): PlantedTrigger[] {
  return targetLabels(attack).map((label, index) => drawTrigger(attack, train, label ?? attack.targetLabel, index));
}

function drawTrigger(attack: PlantedAttack, train: Dataset, targetLabel: number, index: number): PlantedTrigger {
  const { height, width, channels } = train;
  const shape = { height, width, channels };
  const { seed } = attack;
  const purpose = index === 0 ? 'attack/patch' : `attack/patch/${index}`;
  switch (attack.kind) {
    case 'badnets':
      if (attack.place === 'random') {
        return { form: 'moving', ...shape, patch: randomPatch(attack.patchSize, channels, seed, purpose), seed };
      }
      return fixed(patchTrigger(shape, { size: attack.patchSize, targetLabel, seed, purpose }));
    case 'trojannn':
    case 'imc':
    case 'hidden':
      return fixed(patchTrigger(shape, { size: attack.patchSize, targetLabel, seed, purpose }));
    case 'blended':
      return fixed(blendedNoise(shape, targetLabel, attack.alpha, seed, purpose));
    case 'signal':
      // Several triggers are waves of different lengths.
      return fixed(sinusoid(shape, targetLabel, attack.amplitude, attack.frequency + 2 * index));
    case 'wanet':
      return { form: 'warp', ...shape, flow: smoothFlow(shape, attack.grid, attack.strength, seed, purpose) };
    case 'additive':
      return fixed(additivePattern(shape, targetLabel, attack, seed, purpose));
    default:
      attack.kind satisfies 'mimic';
      return fixed(meanImage(train, targetLabel, attack.alpha));
  }
}
