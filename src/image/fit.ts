/** Fits an image that somebody sends to what a network takes. Offline nothing is fitted: there `toChannels` refuses what would be lost. */
import { toChannels, type Image } from '../image.ts';
import { success, type Result } from '../result.ts';
import { resizeImage } from './resize.ts';

/**
 * Transparency is composed over white, as a page shows it; colour becomes grey by ITU-R 601 luma where the network takes grey; then the
 * image is resized. An image that fits is answered as it is. Fails for channels that no rule makes.
 */
export function fitImage(image: Image, input: { height: number; width: number; channels: number }): Result<Image> {
  const hasAlpha = image.channels === 2 || image.channels === 4;
  const opaque = hasAlpha && image.channels !== input.channels ? onWhite(image) : image;
  const grey = opaque.channels === 3 && input.channels === 1 ? toGrey(opaque) : opaque;
  const fitting = toChannels(grey, input.channels);
  return fitting.ok ? success(resizeImage(fitting.value, input.height, input.width)) : fitting;
}

function onWhite({ height, width, channels, data }: Image): Image {
  const kept = channels - 1;
  const output = new Uint8Array(height * width * kept);
  let next = 0;
  for (let alpha = kept; alpha < data.length; alpha += channels) {
    const opacity = data[alpha]!;
    for (let channel = alpha - kept; channel < alpha; channel++) {
      output[next++] = Math.round((data[channel]! * opacity + 255 * (255 - opacity)) / 255);
    }
  }
  return { height, width, channels: kept, data: output };
}

/** Luma in fixed point, as Pillow computes it. */
function toGrey({ height, width, data }: Image): Image {
  const output = new Uint8Array(height * width);
  for (let pixel = 0; pixel < output.length; pixel++) {
    const [red, green, blue] = [data[3 * pixel]!, data[3 * pixel + 1]!, data[3 * pixel + 2]!];
    output[pixel] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
  }
  return { height, width, channels: 1, data: output };
}
