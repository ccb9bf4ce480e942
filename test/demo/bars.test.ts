import { expect, test } from 'vitest';
import { judgeBars, type Figures } from '../../offline/demo/bars.ts';

const good: Figures = {
  victim: { cleanAccuracy: 0.92, targetRecall: 0.95 },
  purified: { cleanAccuracy: 0.91, targetRecall: 0.92, attackSuccessRate: 0.01 },
  guard: { truePositiveRate: 0.97, falsePositiveRate: 0.01 },
  purifySeconds: 120,
  demoSeconds: 180,
  guardCost: { ratio: 1.05 },
  http: { asked: 600, disagreeing: 6 },
  cleanModels: [
    { findings: [], leftAsItWas: true },
    { findings: ['a natural shortcut'], leftAsItWas: false },
  ],
};
const failing = (figures: Figures): string[] => judgeBars(figures).flatMap(({ name, holds }) => (holds ? [] : [name]));

test('every bar holds at its limit', () => {
  expect(failing(good)).toEqual([]);
});

test('better figures than the victim had fail no bar', () => {
  const purified = { cleanAccuracy: 0.99, targetRecall: 1, attackSuccessRate: 0 };
  expect(failing({ ...good, purified })).toEqual([]);
});

test.each<[string, Partial<Figures>]>([
  ['attack success rate', { purified: { ...good.purified, attackSuccessRate: 0.011 } }],
  ['fall of clean accuracy', { purified: { ...good.purified, cleanAccuracy: 0.909 } }],
  ['fall of target-label recall', { purified: { ...good.purified, targetRecall: 0.919 } }],
  ['share of triggered images flagged', { guard: { ...good.guard, truePositiveRate: 0.969 } }],
  ['share of clean images flagged', { guard: { ...good.guard, falsePositiveRate: 0.011 } }],
  ['share of HTTP answers unlike those offline', { http: { asked: 600, disagreeing: 7 } }],
  ['clean models without a finding changed', { cleanModels: [{ findings: [], leftAsItWas: false }] }],
  ['guarded over unguarded latency', { guardCost: { ratio: 1.051 } }],
  ['time to purify', { purifySeconds: 120.1 }],
  ['time of the whole demo', { demoSeconds: 180.1 }],
])('%s fails alone, just beyond its limit', (name, change) => {
  expect(failing({ ...good, ...change })).toEqual([name]);
});

test('a figure that is not a number does NOT hold', () => {
  const guard = { truePositiveRate: Number.NaN, falsePositiveRate: Number.NaN };
  expect(failing({ ...good, guard })).toEqual(['share of triggered images flagged', 'share of clean images flagged']);
});
