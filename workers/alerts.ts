/** How the worker speaks to the alerts object. */
import type { Alert } from '../src/alert.ts';
import type { AlertsObject } from './alerts/object.ts';
import type { Env, Waiter } from './env.ts';

export const alertsObject = (env: Env): DurableObjectStub<AlertsObject> =>
  env.ALERTS.get(env.ALERTS.idFromName('alerts'));

/** Stores alerts; rejects when they could not be stored. */
export async function storeAlerts(env: Env, alerts: readonly Alert[]): Promise<void> {
  await alertsObject(env).record(alerts);
}

/**
 * Stores alerts without making the request wait; those that cannot be stored are logged whole. `png` encodes the input of an alert, and is
 * only asked for the first of its kind.
 */
export function raise(env: Env, waiter: Waiter, alerts: readonly Alert[], png?: (index: number) => Uint8Array): void {
  const store = async (): Promise<void> => {
    try {
      const object = alertsObject(env);
      const wanted = await object.record(alerts);
      for (const [index, id] of wanted.entries()) {
        const alert = alerts[index]!;
        if (id === null || !png || alert.kind !== 'trigger-match') continue;
        await object.keepImage(id, alert.requestId, png(index));
      }
    } catch (error) {
      console.error(JSON.stringify({ event: 'alert_not_stored', error: String(error), alerts }));
    }
  };
  waiter.waitUntil(store());
}
