/** Recovered triggers as pictures, for people to look at. */
import type { Image } from '../../src/image.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';

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
