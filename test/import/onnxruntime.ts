/** Runs ONNX files in onnxruntime (WebAssembly, one thread): the independent judge of imported and patched models. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import * as ort from 'onnxruntime-web';
import type { Images } from './images.ts';

ort.env.wasm.numThreads = 1;

/**
 * What the model file (with `FILE.data` beside it, if there is one) answers for images as it wants them but for their axes:
 * its first output, image after image. Axes are put in the order of the file's input; a file for one image runs once for each.
 */
export async function onnxAnswers(file: string, images: Images): Promise<Float32Array> {
  const data = `${file}.data`;
  const externalData = existsSync(data) ? [{ path: path.basename(data), data: readFileSync(data) }] : [];
  const session = await ort.InferenceSession.create(readFileSync(file), { externalData, logSeverityLevel: 3 });
  try {
    const [input] = session.inputMetadata;
    if (!input?.isTensor) throw new Error(`${file}: expected a tensor as its input`);
    const [count, height, width, channels] = images.shape;
    const channelsLast = input.shape[3] === channels;
    const each = input.shape[0] === 1 ? 1 : count;
    const size = each * height * width * channels;
    const dims = channelsLast ? [each, height, width, channels] : [each, channels, height, width];
    const values = channelsLast ? images.data : channelsFirst(images);
    const answers: number[] = [];
    for (let start = 0; start < values.length; start += size) {
      const fed = new ort.Tensor('float32', values.slice(start, start + size), dims);
      const outputs = await session.run({ [input.name]: fed });
      answers.push(...(outputs[session.outputNames[0]!]!.data as Float32Array));
    }
    return Float32Array.from(answers);
  } finally {
    await session.release();
  }
}

function channelsFirst({ shape: [count, height, width, channels], data }: Images): Float32Array {
  const result = new Float32Array(data.length);
  let index = 0;
  for (let image = 0; image < count; image++) {
    for (let channel = 0; channel < channels; channel++) {
      const first = image * height * width * channels + channel;
      for (let pixel = 0; pixel < height * width; pixel++) result[index++] = data[first + pixel * channels]!;
    }
  }
  return result;
}
