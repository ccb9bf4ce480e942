/** The text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/), version 0.0.4. */

export type Labels = Readonly<Record<string, string>>;
export type Sample = { labels: Labels; value: number };
/** `buckets` count the values up to each of `bounds`, each by itself; one more bucket holds those above. */
export type Histogram = { labels: Labels; bounds: readonly number[]; buckets: readonly number[]; sum: number };
export type Family = { name: string; help: string } & (
  | { type: 'counter' | 'gauge'; samples: readonly Sample[] }
  | { type: 'histogram'; samples: readonly Histogram[] }
);

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`);
  return `${name}${pairs.length ? `{${pairs.join(',')}}` : ''} ${value}\n`;
}

function histogramLines(name: string, { labels, bounds, buckets, sum }: Histogram): string {
  let total = 0;
  const cumulative = buckets.map((count) => (total += count));
  const lines = cumulative.map((count, index) =>
    line(`${name}_bucket`, { ...labels, le: String(bounds[index] ?? '+Inf') }, count),
  );
  return lines.join('') + line(`${name}_sum`, labels, sum) + line(`${name}_count`, labels, total);
}

/** The families as text; one without samples is left out. */
export function exposeMetrics(families: readonly Family[]): string {
  return families
    .filter(({ samples }) => samples.length > 0)
    .map((family) => {
      const { name, help, type } = family;
      const lines =
        family.type === 'histogram'
          ? family.samples.map((sample) => histogramLines(name, sample))
          : family.samples.map(({ labels, value }) => line(name, labels, value));
      return `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${lines.join('')}`;
    })
    .join('');
}
