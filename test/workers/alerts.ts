/** The alerts object of a running worker, as its own worker speaks to it. */
import type { Alert } from '../../src/alert.ts';
import type { AlertView, SinkView } from '../../src/api/alerts.ts';
import type { Edge } from './edge.ts';

export type Alerts = {
  record(alerts: readonly Alert[]): Promise<(number | null)[]>;
  list(query: { limit: number }): Promise<AlertView[]>;
  sinks(): Promise<SinkView[]>;
};

/** The object's methods, over RPC. */
export async function alertsOf(edge: Edge): Promise<Alerts> {
  const objects = await edge.miniflare.getDurableObjectNamespace('ALERTS');
  return objects.get(objects.idFromName('alerts')) as unknown as Alerts;
}

/** An alert whose key differs for each `index`. */
export const refused = (index: number): Alert => ({
  kind: 'release-refused',
  release: `release-${index}`,
  reason: 'expiry',
  message: 'manifest.json: the release expired at 2026-01-01T00:00:00Z',
});
