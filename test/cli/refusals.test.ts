/** Every bad flag and file ends with exit code 2 and one sentence, through the real process, before any long work. */
import { rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeCliFiles } from './files.ts';
import { run } from './process.ts';

let files: Awaited<ReturnType<typeof writeCliFiles>>;
beforeAll(async () => {
  files = await writeCliFiles();
  await writeFile(files.at('file'), '');
  await writeFile(files.at('model.pt'), '');
  await writeFile(files.at('taken.model'), '');
});
afterAll(() => rm(files.root, { recursive: true }));

/** `@name` stands for a file of the test. */
const resolved = (text: string): string => text.replaceAll(/@([\w./-]*\w)/g, (_, name: string) => files.at(name));
const purify = 'purify @model --clean @clean.safetensors --out @new';
const evaluate = 'evaluate @model --clean @clean.safetensors';
const attack = '--train @clean.safetensors --test @clean.safetensors --out @new';

describe.concurrent('exit code 2 and one sentence', () => {
  test.each<[string, string]>([
    ['bogus', "error: unknown command 'bogus'"],
    ['purify @model --out @new', "error: required option '--clean <DATA>' not specified"],
    [`${purify} --fast`, "error: unknown option '--fast'"],
    [`${purify} --seed 1.5`, 'error: --seed: expected a whole number from 0 to 4294967295, got "1.5"'],
    [`${purify} --engine cuda`, 'error: --engine: expected one of auto, wasm, webgpu, got "cuda"'],
    [`${purify} --unlearn hard`, 'error: --unlearn: expected one of late, ascent, got "hard"'],
    [
      `${purify} --false-positive-rate 1`,
      'error: --false-positive-rate: expected a number above 0 and below 1, got "1"',
    ],
    [
      'purify @model --clean @clean.safetensors --out @release',
      'error: --out @release: expected a new or empty directory',
    ],
    ['purify @model --clean @clean.safetensors --out @file', 'error: --out @file: expected a new or empty directory'],
    [
      'purify @model --clean @clean.safetensors --out @taken',
      'error: --out @taken: expected nothing at @taken.model, where the purified model goes',
    ],
    [`${purify} --key @file`, 'error: @file: expected an ECDSA P-256 private key as PKCS #8 PEM'],
    ['scan @nowhere --clean @clean.safetensors', 'error: @nowhere: no such file or folder'],
    ['scan @file --clean @clean.safetensors', 'error: @file: expected an .onnx, .h5, .keras or TensorFlow.js '],
    ['scan @model.pt --clean @clean.safetensors', 'error: @model.pt: a PyTorch file can run code when it is opened'],
    [
      'scan @model --clean @clean.safetensors --key @key.pub',
      'error: --key: expected a release with it, got the model',
    ],
    [`${purify} --scale 0`, 'error: --scale: expected a number above 0, got "0"'],
    [`${purify} --scale 255`, 'error: --scale: expected a model file of another program with it, got @model'],
    [`${evaluate} --mean 0.5,x`, 'error: --mean: expected a number, or one a channel separated by commas, got "0.5,x"'],
    [
      `${evaluate} --std 1,0,1`,
      'error: --std: expected a number above 0, or one a channel separated by commas, got "1,0,1"',
    ],
    [`${evaluate} --layout hwc`, 'error: --layout: expected one of nchw, nhwc, got "hwc"'],
    [`${evaluate} --channels grb`, 'error: --channels: expected one of rgb, bgr, got "grb"'],
    [`${evaluate} --size 32`, 'error: --size: expected HEIGHTxWIDTH in pixels, such as 32x32, got "32"'],
    ['scan @model --clean @file', 'error: @file: unsupported file: expected a folder of class folders, .safetensors, '],
    ['scan @model --clean @large.safetensors', 'error: @large.safetensors: images: expected 8 x 8 pixels, got 9 x 8'],
    [
      'scan @model --clean @two-labels.safetensors',
      'error: @two-labels.safetensors: labels: expected images of every label, got none of label 2 (coat)',
    ],
    [`${evaluate} --triggered @clean.safetensors`, 'error: --triggered: expected --target with it, got none'],
    [`${evaluate} --target 1`, 'error: --target: expected --triggered with it, got none'],
    [`${evaluate} --triggered @clean.safetensors --target 3`, 'error: --target: expected a label from 0 to 2, got 3'],
    [`${evaluate} --key @key.pub`, 'error: --key: expected a release with it, got the model @model'],
    ['evaluate @release --clean @clean.safetensors', 'no-such-key.pem.pub: no such file, expected a public key as PEM'],
    [
      'evaluate @tampered --clean @clean.safetensors --key @key.pub',
      'error: @tampered: weights.safetensors: the digest does not match the signature',
    ],
    ['evaluate @release --clean @clean.safetensors --key @other.pub', 'error: @release: signature'],
    [
      'publish @release --to http://127.0.0.1:1',
      "error: --token-env: expected the publisher's token in $TRIGGER_GUARD_PUBLISH_TOKEN, got none",
    ],
    ['publish @release --to nowhere --token-env PATH', 'error: publish: expected an http or https URL, got "nowhere"'],
    [
      `attack trojan ${attack}`,
      'error: KIND: expected one of none, badnets, blended, signal, wanet, additive, trojannn, imc, hidden, mimic, got "trojan"',
    ],
    [`attack badnets ${attack} --alpha 0.1`, 'error: --alpha: not a flag of badnets'],
    [`attack none ${attack} --poison-rate 0.1`, 'error: --poison-rate: not a flag of none'],
    [`attack blended ${attack} --alpha 2`, 'error: --alpha: expected a number above 0 and below 1, got "2"'],
    [
      `attack badnets ${attack} --target one`,
      'error: --target: expected a label, labels separated by commas, or next, got "one"',
    ],
    [`attack badnets ${attack} --target 1,1`, 'error: --target: expected different labels, got 1,1'],
    [`attack badnets ${attack} --source 0`, 'error: --source: expected another label than --target'],
    [
      `attack badnets ${attack} --clean-label --target next`,
      'error: --clean-label: expected one label as --target with it, got next',
    ],
    [
      `attack mimic ${attack} --target next`,
      'error: --target: expected labels for mimic, which imitates their images, got next',
    ],
    [
      `attack badnets ${attack} --network resnet`,
      'error: --network: expected one of small-cnn, small-vgg, resnet8, resnet18, preact-resnet18, wrn-16-1, got "resnet"',
    ],
    [`attack badnets ${attack} --target 3`, 'error: --target: expected a label from 0 to 2, got 3'],
    [`attack badnets ${attack} --patch-size 9`, 'error: --patch-size: expected at most 8 pixels, got 9'],
    ['demo --port 65536', 'error: --port: expected a whole number from 0 to 65535, got "65536"'],
  ])('%s', async (command, expected) => {
    const { code, stdout, stderr } = await run(command.split(' ').map(resolved));
    expect(stderr).toContain(resolved(expected));
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stdout).toBe('');
    expect(code).toBe(2);
  });
});

test('the demo does not begin when its port is taken', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const { code, stderr } = await run(['demo', '--port', `${port}`]);
  server.close();
  expect(stderr).toMatch(new RegExp(`^error: --port: expected a free port, got ${port} \\(.*EADDRINUSE`));
  expect(code).toBe(2);
});
