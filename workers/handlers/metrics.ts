/** Counters for Prometheus. */
import { CONTENT_TYPE, exposeMetrics, type Family, type Sample } from '../../src/prometheus.ts';
import { LATENCY_BOUNDS_MS, type Counts } from '../../src/rollout/health.ts';
import { alertsObject } from '../alerts.ts';
import type { AlertFigures } from '../alerts/object.ts';
import { readHealth, type Health } from '../health-object.ts';
import type { Call } from '../http.ts';

const one = (value: number): Sample[] => [{ labels: {}, value }];

/** The counters whose name begins with a word, the words behind it as labels. */
function counted(figures: AlertFigures, word: string, labels: readonly [string, string]): Sample[] {
  return figures.counters.flatMap(({ name, value }) => {
    const [first, ...values] = name.split(' ');
    return first === word
      ? [{ labels: Object.fromEntries(labels.map((label, index) => [label, values[index]!])), value }]
      : [];
  });
}

const alertFamilies = (figures: AlertFigures): Family[] => [
  {
    name: 'trigger_guard_alerts_total',
    help: 'Alerts, repeats included.',
    type: 'counter',
    samples: counted(figures, 'alerts', ['kind', 'severity']),
  },
  {
    name: 'trigger_guard_alerts_open',
    help: 'Alerts that nobody has acknowledged and that are not over.',
    type: 'gauge',
    samples: ['warning', 'critical'].map((severity) => {
      const value = figures.open.find((open) => open.severity === severity)?.count ?? 0;
      return { labels: { severity }, value };
    }),
  },
  {
    name: 'trigger_guard_notifications_total',
    help: 'Attempts to tell a sink, by outcome, and notifications dropped from a full outbox.',
    type: 'counter',
    samples: counted(figures, 'notifications', ['sink', 'outcome']),
  },
  {
    name: 'trigger_guard_notifications_queued',
    help: 'Notifications that a sink has not taken yet.',
    type: 'gauge',
    samples: figures.sinks.map(({ name, queued }) => ({ labels: { sink: name }, value: queued })),
  },
  {
    name: 'trigger_guard_sinks_valid',
    help: 'Whether ALERT_SINKS can be read; 0 means that no sink is told anything.',
    type: 'gauge',
    samples: one(Number(figures.sinksValid)),
  },
  {
    name: 'trigger_guard_evidence_images',
    help: 'Kept images of alerts.',
    type: 'gauge',
    samples: one(figures.images),
  },
  { name: 'trigger_guard_live_listeners', help: 'Open live feeds.', type: 'gauge', samples: one(figures.sockets) },
];

function healthFamilies({ releases }: Health): Family[] {
  const counter = (name: string, help: string, value: (totals: Counts) => number): Family => ({
    name: `trigger_guard_${name}_total`,
    help,
    type: 'counter',
    samples: releases.map(({ digest, totals }) => ({ labels: { release: digest }, value: value(totals) })),
  });
  return [
    counter('requests', 'Requests that a release answered or failed on.', ({ requests }) => requests),
    counter('images', 'Images that a release answered.', ({ images }) => images),
    counter('suspects', 'Images in which the guard saw a trigger.', ({ suspects }) => suspects),
    counter('compared', 'Images that also ran on the other release.', ({ compared }) => compared),
    counter('disagreed', 'Compared images with another label.', ({ disagreed }) => disagreed),
    {
      name: 'trigger_guard_errors_total',
      help: 'Requests without an answer, because the guard could not judge or the release could not be loaded.',
      type: 'counter',
      samples: releases.flatMap(({ digest, totals }) =>
        (['guard', 'load'] as const).map((kind) => ({ labels: { release: digest, kind }, value: totals.errors[kind] })),
      ),
    },
    {
      name: 'trigger_guard_request_duration_seconds',
      help: 'Time from choosing the release to its answer.',
      type: 'histogram',
      samples: releases.map(({ digest, totals }) => ({
        labels: { release: digest },
        bounds: LATENCY_BOUNDS_MS.map((bound) => bound / 1000),
        buckets: totals.latency,
        sum: totals.latencySumMs / 1000,
      })),
    },
  ];
}

/** GET /metrics */
export async function metrics(c: Call): Promise<Response> {
  const [figures, health] = await Promise.all([alertsObject(c.env).figures(), readHealth(c.env, 1)]);
  const text = exposeMetrics([...healthFamilies(health), ...alertFamilies(figures as AlertFigures)]);
  return c.body(text, 200, { 'content-type': CONTENT_TYPE });
}
