/** Whether more inputs are suspect than false positives explain. */
import { clopperPearsonUpper } from '../metrics.ts';

/** How sure a surge has to be: a service that looks every minute is wrong about once in two years. */
const CONFIDENCE = 1 - 1e-6;
const SUSPECTS_MIN = 5;

/** Whether the rate behind `suspects` of `images` is above `expectedRate`, the upper bound of the guard's false-positive rate (Clopper and Pearson 1934, lower bound). */
export function isSurge(suspects: number, images: number, expectedRate: number): boolean {
  if (suspects < SUSPECTS_MIN || suspects / images <= expectedRate) return false;
  return 1 - clopperPearsonUpper(images - suspects, images, CONFIDENCE) > expectedRate;
}
