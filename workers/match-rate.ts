/** Looks every minute whether the guard flags more than its false positives explain: one match may be chance, a surge is an attack or a drift. */
import type { Alert } from '../src/alert.ts';
import { isSurge } from '../src/alert/surge.ts';
import { addCounts } from '../src/rollout/health.ts';
import { fingerprintSchema } from '../src/trigger/fingerprint.ts';
import { raise } from './alerts.ts';
import type { Env, Waiter } from './env.ts';
import { readHealth } from './health-object.ts';

const WINDOW_MINUTES = 5;

/** Raises an alert for each release whose rate of suspects over the last minutes is a surge. */
export async function watchMatchRate(env: Env, waiter: Waiter): Promise<void> {
  const { series } = await readHealth(env, WINDOW_MINUTES);
  const alerts: Alert[] = [];
  for (const [release, minutes] of Map.groupBy(series, ({ digest }) => digest)) {
    const { suspects, images } = minutes.map(({ counts }) => counts).reduce(addCounts);
    // Without suspects nothing has to be read.
    if (!isSurge(suspects, images, 0)) continue;
    const expectedRate = await falsePositiveBound(env, release);
    if (expectedRate === undefined || !isSurge(suspects, images, expectedRate)) continue;
    const windowStart = new Date(minutes[0]!.minuteMs).toISOString();
    const rate = suspects / images;
    alerts.push({ kind: 'match-rate-surge', release, rate, expectedRate, sampleSize: images, windowStart });
  }
  if (alerts.length) raise(env, waiter, alerts);
}

/** The upper bound of the false-positive rate that the release's guard was calibrated to. */
async function falsePositiveBound(env: Env, release: string): Promise<number | undefined> {
  const file = await env.RELEASES.get(`releases/${release}/fingerprint.json`);
  const parsed = fingerprintSchema.safeParse(file ? await file.json() : undefined);
  return parsed.data?.falsePositiveBound.upper;
}
