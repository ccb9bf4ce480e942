/** Recovered triggers as pictures, for people to look at. */
import type { Image } from '../image.ts';
import { patternDepth, type Trigger } from './trigger.ts';
import { warpImage } from './warp.ts';

const LEAST_SIDE_PIXELS = 224;
/** What the heat map is drawn in: orange, which people who see red and green alike tell from grey. */
const HOT = [255, 106, 0] as const;
/** How much of an image's own light stays under the heat. */
const LIGHT = 0.75;

/** Enlarges an image to at least 224 pixels a side, each pixel to a square. */
function enlarge({ height, width, channels, data }: Image): Image {
  const scale = Math.max(1, Math.ceil(LEAST_SIDE_PIXELS / Math.min(height, width)));
  const [rows, columns] = [height * scale, width * scale];
  const enlarged = new Uint8Array(rows * columns * channels);
  for (let index = 0; index < enlarged.length; index++) {
    const pixel = Math.floor(index / channels);
    const position = Math.floor(pixel / columns / scale) * width + Math.floor((pixel % columns) / scale);
    enlarged[index] = data[position * channels + (index % channels)]!;
  }
  return { height: rows, width: columns, channels, data: enlarged };
}

/** Lines of a grid, so many pixels apart, on which a warp shows. */
const GRID_PIXELS = 4;

/** A trigger stamped on mid-grey [H,W,C], enlarged to at least 224 pixels a side: grey is where it changes nothing. A warp is stamped on a grid of lines. */
export function triggerPicture(trigger: Trigger): Image {
  const { height, width, channels, pattern } = trigger;
  if (trigger.kind === 'warp') {
    const lines = Uint8Array.from({ length: height * width }, (_, place) => {
      const isLine = [Math.floor(place / width), place % width].some((at) => at % GRID_PIXELS === GRID_PIXELS / 2);
      return isLine ? 255 : 128;
    });
    return enlarge({ height, width, channels: 1, data: warpImage(lines, trigger, pattern) });
  }
  const data = Uint8Array.from(pattern, (value, index) => {
    const shift = trigger.kind === 'blend' ? trigger.mask[Math.floor(index / channels)]! * (value - 0.5) : value / 2;
    return Math.round(255 * (0.5 + shift));
  });
  return enlarge({ height, width, channels, data });
}

/** How much a trigger changes each place [H*W], as a share of the place that it changes most. */
function strengths(trigger: Trigger): Float32Array {
  const { height, width, pattern } = trigger;
  const depth = patternDepth(trigger);
  const changes = Float32Array.from({ length: height * width }, (_, place) => {
    if (trigger.kind === 'blend') return trigger.mask[place]!;
    const values = pattern.subarray(place * depth, (place + 1) * depth);
    return values.reduce((sum, value) => sum + Math.abs(value), 0) / depth;
  });
  const largest = changes.reduce((most, value) => Math.max(most, value), 0);
  return largest > 0 ? changes.map((value) => value / largest) : changes;
}

/**
 * Where a trigger lies on an image of 1 or 3 channels: the image in grey, the places that the trigger changes in orange, the more the stronger;
 * enlarged as a trigger's picture is. Undefined when the image does not have the trigger's height and width.
 */
export function heatMap(image: Image, trigger: Trigger): Image | undefined {
  const { height, width, channels, data } = image;
  if (height !== trigger.height || width !== trigger.width) return undefined;
  const heat = strengths(trigger);
  const coloured = Uint8Array.from({ length: height * width * 3 }, (_, index) => {
    const place = Math.floor(index / 3);
    const [red, green, blue] = channels === 1 ? [0, 0, 0] : [0, 1, 2];
    const value = (channel: number): number => data[place * channels + channel]!;
    const grey = LIGHT * (0.299 * value(red) + 0.587 * value(green) + 0.114 * value(blue));
    return Math.round(grey + heat[place]! * (HOT[index % 3]! - grey));
  });
  return enlarge({ height, width, channels: 3, data: coloured });
}
