import fc from 'fast-check';
import { expect, test } from 'vitest';
import { exposeMetrics, type Family } from '../src/prometheus.ts';
import { parseMetrics } from './support/prometheus.ts';

test('counters, gauges and histograms have the text that the format describes', () => {
  const families: Family[] = [
    { name: 'a_total', help: 'All.', type: 'counter', samples: [{ labels: { kind: 'x', sink: 'y' }, value: 3 }] },
    { name: 'b', help: 'Now.', type: 'gauge', samples: [{ labels: {}, value: 0.5 }] },
    { name: 'none', help: 'Nothing.', type: 'gauge', samples: [] },
    {
      name: 'c_seconds',
      help: 'Time.',
      type: 'histogram',
      samples: [{ labels: { release: 'r' }, bounds: [0.1, 1], buckets: [2, 3, 1], sum: 4.5 }],
    },
  ];
  expect(exposeMetrics(families)).toBe(
    [
      '# HELP a_total All.',
      '# TYPE a_total counter',
      'a_total{kind="x",sink="y"} 3',
      '# HELP b Now.',
      '# TYPE b gauge',
      'b 0.5',
      '# HELP c_seconds Time.',
      '# TYPE c_seconds histogram',
      'c_seconds_bucket{release="r",le="0.1"} 2',
      'c_seconds_bucket{release="r",le="1"} 5',
      'c_seconds_bucket{release="r",le="+Inf"} 6',
      'c_seconds_sum{release="r"} 4.5',
      'c_seconds_count{release="r"} 6',
      '',
    ].join('\n'),
  );
});

test('any label value and help comes back from a parser of the grammar', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.string(), fc.integer(), (text, help, value) => {
      const exposed = exposeMetrics([{ name: 'm', help, type: 'gauge', samples: [{ labels: { text }, value }] }]);
      expect(parseMetrics(exposed)).toEqual([
        { name: 'm', type: 'gauge', help, samples: [{ name: 'm', labels: { text }, value }] },
      ]);
    }),
  );
});
