import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { writeRelease } from '../../offline/release.ts';
import { shippedBundle } from '../support/bundle.ts';
import { testDirectory } from '../support/directory.ts';
import { createKey, testContent } from '../support/release.ts';
import { secrets, startEdge, TOKENS } from '../workers/edge.ts';
import { run } from './process.ts';

test('rollout starts a stored release, shows it, pauses, promotes and undoes it, and says what the worker refuses', async () => {
  const key = await createKey();
  const edge = await startEdge(await shippedBundle(), secrets(key));
  onTestFinished(() => edge.miniflare.dispose());
  const folder = await testDirectory();
  const tokens = { TRIGGER_GUARD_PUBLISH_TOKEN: TOKENS.publish, TRIGGER_GUARD_OPERATE_TOKEN: TOKENS.operate };
  const publish = async (seed: number, ...flags: string[]): Promise<string> => {
    const directory = join(folder, `release-${seed}`);
    const written = await writeRelease(directory, testContent(seed), key);
    if (!written.ok) throw new Error(written.error);
    const { stdout, stderr } = await run(['publish', directory, '--to', edge.url.href, ...flags], tokens);
    const { digest } = written.value;
    expect(stdout, stderr).toBe(`Release ${digest} ${flags.length ? 'is stored' : 'serves'} at ${edge.url.href}\n`);
    return digest;
  };
  const rollout = (...args: string[]) => run(['rollout', ...args, '--url', edge.url.href], tokens);

  const first = await publish(1);
  const second = await publish(2, '--store-only');
  const started = await rollout('start', second, '--steps', '0,20', '--hold', '60', '--reason', 'nightly');
  expect(started.stdout).toContain(`running, revision 2\nstable  ${first}\ncanary  ${second}\n`);
  expect(started.stdout).toContain('step 1 of 2: 0 % since ');
  expect(started.stdout).toMatch(/\n2 {2}\S+ {2}start {2}\S+ {2}0 % {2}operate:[0-9a-f]{8} {2}nightly\n$/);

  expect((await rollout('pause', '--if-revision', '1')).stderr).toMatch(
    /^error: rollout: POST .* was answered 409: the rollout is at revision 2, not at 1: look at it again \(rollout_conflict\)\n$/,
  );
  expect((await rollout('promote', '--reason', 'sure')).stdout).toContain(`promoted, revision 3\nstable  ${second}\n`);
  expect((await rollout('undo')).stdout).toContain(`undone, revision 4\nstable  ${first}\n`);
  const status = JSON.parse((await rollout('status', '--json')).stdout) as { rollout: { phase: string } };
  expect(status.rollout.phase).toBe('undone');

  const refused = await rollout('start', second, '--steps', '20,5');
  expect([refused.stderr, refused.code]).toEqual([
    'error: --steps: expected steps whose canaryPercent rises, got 20,5\n',
    2,
  ]);
}, 120_000);

test.each([
  [
    ['status', '--url', 'http://127.0.0.1:1'],
    "error: --token-env: expected the operator's token in $TRIGGER_GUARD_OPERATE_TOKEN, got none",
  ],
  [['start', 'latest', '--url', 'http://x'], 'error: DIGEST: expected 64 lower-case hexadecimal digits, got "latest"'],
  [
    ['start', 'a', '--url', 'http://x', '--steps', 'all'],
    'error: --steps: expected percentages separated by commas, such as 5,25,50, got "all"',
  ],
])('rollout %j is refused in one sentence', async (args, message) => {
  const { stderr, code } = await run(['rollout', ...args], { TRIGGER_GUARD_OPERATE_TOKEN: '' });
  expect([stderr, code]).toEqual([`${message}\n`, 2]);
});
