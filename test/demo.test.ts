/** The demo as CI runs it: the whole way from the committed victim to answers over HTTP. */
import { expect, test } from 'vitest';
import * as z from 'zod';
import { run } from './cli/process.ts';

const demoSchema = z.object({
  bars: z.array(
    z.object({ name: z.string(), unit: z.string(), value: z.number(), limit: z.number(), holds: z.boolean() }),
  ),
  victim: z.object({ cleanAccuracy: z.number(), attackSuccessRate: z.number() }),
  http: z.object({ clean: z.object({ flagged: z.number() }), triggered: z.object({ flagged: z.number() }) }),
  cleanModels: z.array(z.object({ findings: z.array(z.object({ grade: z.string(), evidence: z.array(z.string()) })) })),
});

test.each([1, 2, 3])(
  'npm run demo -- --once --json --seed %i purifies the victim, guards it, and reaches the bars',
  { timeout: 900_000 },
  async (seed) => {
    const { stdout, stderr } = await run(['demo', '--once', '--json', '--seed', `${seed}`, '--engine', 'wasm']);
    const demo = demoSchema.parse(JSON.parse(stdout || JSON.stringify(stderr)));
    expect(demo.victim.cleanAccuracy).toBeGreaterThanOrEqual(0.9);
    expect(demo.victim.attackSuccessRate).toBeGreaterThanOrEqual(0.99);
    expect(demo.cleanModels).toHaveLength(3);
    expect(demo.http.triggered.flagged).toBeGreaterThan(demo.http.clean.flagged);
    // Times are judged where nothing else runs, by the demo itself.
    const untimed = demo.bars.filter(({ unit }) => unit === 'rate' || unit === 'models');
    expect(untimed).toHaveLength(7);
    expect(untimed.filter(({ holds }) => !holds)).toEqual([]);
  },
);
