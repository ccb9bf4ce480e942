/** Recovered triggers as pictures, for people to look at. */
import { encodePng, type Image } from '../../src/image.ts';
import type { Result } from '../../src/result.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { writeDirectory } from '../directory.ts';
import type { Finding } from '../scan.ts';

const PICTURES_PER_FINDING = 6;
const LEAST_SIDE_PIXELS = 224;

/** A trigger stamped on mid-grey [H,W,C], enlarged to at least 224 pixels a side: grey is where it changes nothing. */
export function triggerPicture(trigger: Trigger): Image {
  const { height, width, channels, pattern } = trigger;
  const scale = Math.max(1, Math.ceil(LEAST_SIDE_PIXELS / Math.min(height, width)));
  const [rows, columns] = [height * scale, width * scale];
  const data = new Uint8Array(rows * columns * channels);
  for (let index = 0; index < data.length; index++) {
    const pixel = Math.floor(index / channels);
    const position = Math.floor(pixel / columns / scale) * width + Math.floor((pixel % columns) / scale);
    const value = pattern[position * channels + (index % channels)]!;
    const shift = trigger.kind === 'blend' ? trigger.mask[position]! * (value - 0.5) : value / 2;
    data[index] = Math.round(255 * (0.5 + shift));
  }
  return { height: rows, width: columns, channels, data };
}

/** Writes the smallest triggers of every finding as PNG files into a new or empty directory, all or none. */
export function writePictures(directory: string, findings: readonly Finding[]): Promise<Result<null>> {
  const files = findings.flatMap(({ targetLabel, pool }) =>
    pool.slice(0, PICTURES_PER_FINDING).map(({ trigger }, index): [string, Uint8Array] => {
      return [`label-${targetLabel}-${index + 1}-${trigger.kind}.png`, encodePng(triggerPicture(trigger))];
    }),
  );
  return writeDirectory(directory, new Map(files));
}
