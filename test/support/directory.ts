/** A directory of its own for every test, removed afterwards. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Makes a new empty directory that is removed when the current test ends. */
export async function testDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'trigger-guard-test-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
