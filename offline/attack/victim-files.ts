/** A victim's directory: the model, a card that says how it was made and, unless it is a clean control, its true trigger. */
import { encodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import type { Result } from '../../src/result.ts';
import { saveModel } from '../model.ts';
import type { Victim } from './attack.ts';

/** Writes a victim into a new or empty directory, all or none: the model's files, `card.json` and `trigger.safetensors`. */
export function saveVictim(directory: string, { model, card, trueTrigger }: Victim): Promise<Result<null>> {
  const files = new Map([['card.json', new TextEncoder().encode(`${JSON.stringify(card, null, 2)}\n`)]]);
  if (trueTrigger) {
    const { height, width, channels, pattern } = trueTrigger;
    const tensors = new Map<string, HostTensor>([
      ['pattern', { dtype: 'F32', shape: [height, width, channels], data: pattern }],
    ]);
    if (trueTrigger.kind === 'blend') {
      tensors.set('mask', { dtype: 'F32', shape: [height, width, 1], data: trueTrigger.mask });
    }
    files.set('trigger.safetensors', encodeSafetensors(tensors));
  }
  return saveModel(directory, model, files);
}
