/** A strict parser of the Prometheus text format, written from its description alone: whatever does not fit the grammar throws. */

export type Parsed = {
  name: string;
  type: string;
  help: string;
  samples: { name: string; labels: Record<string, string>; value: number }[];
};

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const unescape = (text: string): string =>
  text.replaceAll(/\\(.)/g, (whole, character: string) => {
    const plain = { '\\': '\\', '"': '"', n: '\n' }[character];
    if (plain === undefined) throw new Error(`unknown escape ${whole}`);
    return plain;
  });

function parseLabels(line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  const pattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\.)*)"(,|$)/y;
  while (pattern.lastIndex < line.length) {
    const match = pattern.exec(line);
    if (!match) throw new Error(`not labels: ${line}`);
    const [, name, text] = match as unknown as [string, string, string];
    if (name in labels) throw new Error(`label ${name} comes twice`);
    labels[name] = unescape(text);
  }
  return labels;
}

function parseSample(line: string): Parsed['samples'][number] {
  const match = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`, 's').exec(line);
  if (!match) throw new Error(`not a sample: ${line}`);
  const value = Number(match[3]!.replace('Inf', 'Infinity'));
  if (Number.isNaN(value)) throw new Error(`not a value: ${line}`);
  return { name: match[1]!, labels: parseLabels(match[2] ?? ''), value };
}

/** The families of a text; throws when a name comes twice, a sample has no family, or a histogram is not one. */
export function parseMetrics(text: string): Parsed[] {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families: Parsed[] = [];
  for (const line of text.slice(0, -1).split('\n')) {
    const help = new RegExp(`^# HELP (${NAME}) (.*)$`, 's').exec(line);
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`).exec(line);
    const family = families.at(-1);
    if (help) {
      if (families.some(({ name }) => name === help[1])) throw new Error(`family ${help[1]} comes twice`);
      families.push({ name: help[1]!, type: '', help: unescape(help[2]!), samples: [] });
    } else if (type) {
      if (family?.name !== type[1] || family!.type !== '') throw new Error(`TYPE without its HELP: ${line}`);
      family!.type = type[2]!;
    } else {
      const sample = parseSample(line);
      const suffixes = family?.type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
      if (!suffixes.some((suffix) => sample.name === family?.name + suffix)) throw new Error(`stray sample: ${line}`);
      family!.samples.push(sample);
    }
  }
  for (const { name, samples } of families) {
    const keys = samples.map(
      (sample) => JSON.stringify(sample.name) + JSON.stringify(sample.labels, Object.keys(sample.labels).toSorted()),
    );
    if (new Set(keys).size !== keys.length) throw new Error(`${name}: a sample comes twice`);
    if (samples.some(({ value }) => !Number.isFinite(value))) throw new Error(`${name}: a value is not finite`);
  }
  return families;
}
