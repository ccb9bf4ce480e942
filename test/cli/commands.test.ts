/** Commands that do their work, through the real process: what they print, and what they leave behind. */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { shippedBundle } from '../support/bundle.ts';
import { saveDataset } from '../../offline/data/tensors.ts';
import { releasesResponse } from '../../src/api/releases.ts';
import { secrets, sha256, startEdge, TOKENS } from '../workers/edge.ts';
import { offlineAnswer, type Expected } from '../workers/offline.ts';
import { images, writeCliFiles } from './files.ts';
import { run, start, type Ended } from './process.ts';

let files: Awaited<ReturnType<typeof writeCliFiles>>;
beforeAll(async () => (files = await writeCliFiles()));
afterAll(() => rm(files.root, { recursive: true }));

function jsonOf({ code, stdout, stderr }: Ended): Record<string, unknown> {
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** Thirty images, what the release of the test says of them on the cpu backend, and labels of which the first ten are wrong. */
async function labelled() {
  const unlabelled = images(Array.from({ length: 30 }, () => 0));
  const answers: Expected[] = [];
  for (let index = 0; index < unlabelled.count; index++) {
    const pixels = unlabelled.images.subarray(index * 64, (index + 1) * 64);
    answers.push(
      await offlineAnswer(
        files.content,
        Float32Array.from(pixels, (value) => value / 255),
      ),
    );
  }
  const predicted = answers.map(({ scores }) => scores.indexOf(Math.max(...scores)));
  const labels = predicted.map((label, index) => (index < 10 ? (label + 1) % 3 : label));
  const path = files.at('labelled.safetensors');
  await saveDataset(path, { ...unlabelled, labels: Int32Array.from(labels) });
  return { path, answers, predicted, labels };
}

test('evaluate measures a model and a release as the cpu backend does, and prints one JSON document', async () => {
  const { path, answers, predicted, labels } = await labelled();
  const target = predicted[20]!;
  const flags = ['--clean', path, '--triggered', path, '--target', `${target}`, '--engine', 'wasm', '--json'];
  const others = labels.flatMap((label, index) => (label === target ? [] : [index]));
  const share = (wanted: (index: number) => boolean): number => others.filter(wanted).length / others.length;
  const model = jsonOf(await run(['evaluate', files.at('model'), ...flags]));
  expect(model['cleanAccuracy']).toBeCloseTo(20 / 30, 9);
  expect(model['attackSuccessRate']).toBeCloseTo(
    share((index) => predicted[index] === target),
    9,
  );
  expect(model['robustAccuracy']).toBeCloseTo(
    share((index) => predicted[index] === labels[index]),
    9,
  );
  expect(model['highestHitRate']).toBeGreaterThanOrEqual(model['attackSuccessRate'] as number);
  expect(model['perLabelRecall']).toHaveLength(3);
  expect(model).not.toHaveProperty('guard');

  const { threshold } = files.content.guard.fingerprint;
  const flagged = answers.filter(({ probeScores }) => Math.max(...probeScores) > threshold).length / answers.length;
  const release = jsonOf(await run(['evaluate', files.at('release'), '--key', files.at('key.pub'), ...flags]));
  expect(release).toMatchObject({ ...model, guard: { threshold, auroc: 0.5 } });
  expect(release['guard']).toMatchObject({ truePositiveRate: flagged, falsePositiveRate: flagged });
});

test('evaluate prints every rate with its interval', async () => {
  const { code, stdout } = await run(['evaluate', files.at('model'), '--clean', files.at('clean.safetensors')]);
  expect(stdout).toMatch(/^With 95 % intervals:\n {2}clean accuracy +\d+\.\d % \(\d+\.\d to \d+\.\d\)\n/);
  expect(stdout).toContain('recall of 2 (coat)');
  expect(code).toBe(0);
});

test('publish stores a release on a real worker and makes it serve; the token is no argument', async () => {
  const edge = await startEdge(await shippedBundle(), secrets(files.key));
  onTestFinished(() => edge.miniflare.dispose());
  const args = ['publish', files.at('release'), '--to', edge.url.href, '--token-env', 'MY_TOKEN'];
  const refused = await run(args, { MY_TOKEN: 'wrong-token' });
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toMatch(/^error: publish: PUT .* was answered 401: /);
  expect(refused.stderr).not.toContain('wrong-token');

  const published = await run(args, { MY_TOKEN: TOKENS.publish });
  expect(published.stdout).toBe(`Release ${files.digest} serves at ${edge.url.href}\n`);
  expect(published.code).toBe(0);
  const { body } = await edge.send('GET', '/v1/releases', { token: TOKENS.operate });
  expect(releasesResponse.parse(body).releases).toMatchObject([{ digest: files.digest, active: true }]);
});

test('purify leaves a model without a backdoor as it was, writes no release, and says that it made a key', async () => {
  const model = async (): Promise<string[]> =>
    Promise.all(['network.json', 'weights.safetensors'].map((name) => readFile(files.at(`model/${name}`), 'base64')));
  const before = await model();
  const [key, out] = [files.at('keys/new.pem'), files.at('purified')];
  const args = ['--clean', files.at('clean.safetensors'), '--out', out, '--engine', 'wasm', '--json'];
  const ended = await run(['purify', files.at('model'), ...args], { TRIGGER_GUARD_KEY: key });
  expect(jsonOf(ended)).toMatchObject({ outcome: 'nothing-found', limits: [expect.any(String), expect.any(String)] });
  expect(ended.stderr).toContain(`a new signing key is in ${key}, its public key in ${key}.pub`);
  expect((await stat(key)).mode & 0o777).toBe(0o600);
  expect(await model()).toEqual(before);
  await expect(stat(out)).rejects.toThrow('ENOENT');
});

test('scan prints what it found as one JSON document, and exits 0 where nothing is graded a backdoor', async () => {
  const args = ['--clean', files.at('clean.safetensors'), '--engine', 'wasm', '--json'];
  const { findings, screenings } = jsonOf(await run(['scan', files.at('model'), ...args]));
  expect((findings as { grade: string }[]).map(({ grade }) => grade)).not.toContain('backdoor');
  expect((screenings as { form: string }[]).map(({ form }) => form)).toEqual([
    'blend',
    'additive',
    'dense',
    'smooth',
    'warp',
  ]);
});

test('doctor prints one JSON document', async () => {
  const report = jsonOf(await run(['doctor', '--json']));
  expect(report).toMatchObject({ engine: { ok: true }, numerics: { ok: true } });
});

test('attack makes a victim that evaluate reads', async () => {
  const data = ['--train', files.at('clean.safetensors'), '--test', files.at('clean.safetensors')];
  const out = files.at('victim');
  const flags = ['--target', '1', '--patch-size', '2', '--epochs', '1', '--engine', 'wasm', '--out', out];
  const { code, stdout, stderr } = await run(['attack', 'badnets', ...data, ...flags]);
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/^Written to .*victim: clean accuracy \d+\.\d %, attack success \d+\.\d %\n$/);
  expect((await readdir(out)).toSorted()).toEqual([
    'card.json',
    'network.json',
    'trigger.safetensors',
    'weights.safetensors',
  ]);
  jsonOf(await run(['evaluate', out, '--clean', files.at('clean.safetensors'), '--json']));
});

test('an interrupt ends a long command with exit code 130 and leaves nothing behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'trigger-guard-interrupt-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const data = join(folder, 'train.safetensors');
  await saveDataset(
    data,
    images(
      Array.from({ length: 2000 }, (_, index) => index % 3),
      16,
      16,
    ),
  );
  const args = [
    '--train',
    data,
    '--test',
    data,
    '--epochs',
    '1000',
    '--engine',
    'wasm',
    '--out',
    join(folder, 'victim'),
  ];
  const { child, output, ended } = start(['attack', 'none', ...args]);
  onTestFinished(() => void child.kill('SIGKILL'));
  await expect.poll(() => output.stderr, { timeout: 40_000 }).toMatch(/step \d+/);
  child.kill('SIGINT');
  expect(await ended).toMatchObject({ code: 130, stdout: '' });
  expect(await readdir(folder)).toEqual(['train.safetensors']);
});

test('keys new makes a signing key and a token, tells the token and its hash once, and refuses to replace a key', async () => {
  const file = files.at('new-key.pem');
  const made = jsonOf(await run(['keys', 'new', '--signing-key', file, '--role', 'operate', '--json']));
  const { signing, token } = made as { signing: Record<string, string>; token: Record<string, string> };
  expect(sha256(token['token']!)).toBe(token['sha256']);
  expect(await readFile(`${file}.pub`, 'utf8')).toContain(signing['publicKey']!.slice(0, 64));
  const repeated = await run(['keys', 'new', '--signing-key', file]);
  expect(repeated).toEqual({ code: 2, stdout: '', stderr: `error: ${file}: expected a new file\n` });
  expect((await run(['keys', 'new'])).stderr).toBe('error: keys new: expected --signing-key, --role or both\n');
});
