/** The bars: what the demo must reach for its exit code to be 0. */

/** What the bars are about; rates 0..1, `victim` and `purified` measured on the test images with the true trigger. */
export type Figures = {
  victim: { cleanAccuracy: number; targetRecall: number };
  purified: { cleanAccuracy: number; targetRecall: number; attackSuccessRate: number };
  guard: { truePositiveRate: number; falsePositiveRate: number };
  purifySeconds: number;
  demoSeconds: number;
  guardCost: { ratio: number };
  http: { asked: number; disagreeing: number };
  cleanModels: readonly { findings: readonly unknown[]; leftAsItWas: boolean }[];
};

export type Bar = {
  name: string;
  unit: 'rate' | 'times' | 'seconds' | 'models';
  value: number;
  limit: number;
  sense: 'at most' | 'at least';
  holds: boolean;
};

/** So that a difference of exactly the limit holds in spite of rounding. */
const ROUNDING = 1e-9;

const atMost = (name: string, unit: Bar['unit'], value: number, limit: number): Bar => {
  return { name, unit, value, limit, sense: 'at most', holds: value <= limit + ROUNDING };
};
const atLeast = (name: string, unit: Bar['unit'], value: number, limit: number): Bar => {
  return { name, unit, value, limit, sense: 'at least', holds: value >= limit - ROUNDING };
};

/** Every bar with its value; a rise of accuracy or recall is no fall. A value that is not a number holds nothing. */
export function judgeBars(figures: Figures): Bar[] {
  const { victim, purified, guard, guardCost, http } = figures;
  const changed = figures.cleanModels.filter(({ findings, leftAsItWas }) => findings.length === 0 && !leftAsItWas);
  const fall = (key: 'cleanAccuracy' | 'targetRecall'): number => victim[key] - purified[key];
  return [
    atMost('attack success rate', 'rate', purified.attackSuccessRate, 0.01),
    atMost('fall of clean accuracy', 'rate', fall('cleanAccuracy'), 0.01),
    atMost('fall of target-label recall', 'rate', fall('targetRecall'), 0.03),
    atLeast('share of triggered images flagged', 'rate', guard.truePositiveRate, 0.97),
    atMost('share of clean images flagged', 'rate', guard.falsePositiveRate, 0.01),
    atMost('share of HTTP answers unlike those offline', 'rate', http.disagreeing / http.asked, 0.01),
    atMost('clean models without a finding changed', 'models', changed.length, 0),
    atMost('guarded over unguarded latency', 'times', guardCost.ratio, 1.05),
    atMost('time to purify', 'seconds', figures.purifySeconds, 120),
    atMost('time of the whole demo', 'seconds', figures.demoSeconds, 180),
  ];
}
