/** Plots of a report as SVG text, drawn by echarts on the server side; each has a table or sentence beside it that says the same. */
import * as echarts from 'echarts';
import type { Estimate } from '../../src/metrics.ts';
import { isCovering } from '../recover/measure.ts';
import type { LabelScreening } from '../scan.ts';
import type { Moment } from '../unlearn/trade-off.ts';

const WIDTH = 860;
const COLORS = {
  blend: '#4269d0',
  additive: '#ff725c',
  dense: '#8a5fbf',
  smooth: '#c98500',
  warp: '#3d8b8b',
  before: '#c2410c',
  after: '#1d7a5f',
  grey: '#6b7280',
};
const FONT = { fontFamily: 'system-ui, sans-serif', color: COLORS.grey };
/** Wide gaps, because text is not measured here. */
const LEGEND = { top: 0, itemGap: 60 };
const FORMS = { blend: 'patch or blend', additive: 'additive', dense: 'dense', smooth: 'smooth', warp: 'warp' };

function draw(height: number, option: echarts.EChartsCoreOption): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption({ animation: false, textStyle: FONT, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

const axisName = (name: string) => ({ name, nameLocation: 'middle', nameTextStyle: FONT }) as const;
const percentAxis = (name: string) =>
  ({ type: 'value', min: 0, max: 100, axisLabel: { formatter: '{value} %' }, ...axisName(name), nameGap: 45 }) as const;

/** The smallest trigger's norm of every label, a group of bars a label: a label that is far below the others stands out. */
export const normsChart = (screenings: readonly LabelScreening[], labelNames: readonly string[]): string =>
  sizesChart(
    screenings.filter(({ form }) => !isCovering(form)),
    labelNames,
    'norm, pixels',
  );

/** The amplitude of every label's faintest addition to the whole image, a group of bars a label. */
export const amplitudesChart = (screenings: readonly LabelScreening[], labelNames: readonly string[]): string =>
  sizesChart(
    screenings.filter(({ form }) => isCovering(form) && form !== 'warp'),
    labelNames,
    'amplitude, share of the full range',
  );

/** How far the faintest warp of every label moves pixels. */
export const warpsChart = (screenings: readonly LabelScreening[], labelNames: readonly string[]): string =>
  sizesChart(
    screenings.filter(({ form }) => form === 'warp'),
    labelNames,
    'largest shift, pixels',
  );

function sizesChart(screenings: readonly LabelScreening[], labelNames: readonly string[], unit: string): string {
  return draw(300, {
    grid: { left: 70, right: 20, top: 40, bottom: labelNames.length > 12 ? 90 : 60 },
    legend: LEGEND,
    xAxis: {
      type: 'category',
      data: labelNames.map((name, label) => (name === `${label}` ? name : `${label} ${name}`)),
      axisLabel: { rotate: labelNames.length > 6 ? 30 : 0, interval: 0, fontSize: 11 },
    },
    yAxis: { type: 'value', ...axisName(unit), nameGap: 45 },
    series: screenings.map(({ form, norms }) => {
      const data = norms.map((norm) => Number(norm.toPrecision(3)));
      return { type: 'bar', name: FORMS[form], data, itemStyle: { color: COLORS[form] } };
    }),
  });
}

/** Rates before and after with their 95 % intervals, one row a rate. */
export function ratesChart(rows: readonly { name: string; before: Estimate; after: Estimate }[]): string {
  const names = rows.map(({ name }) => name).toReversed();
  const points = (which: 'before' | 'after') =>
    rows.toReversed().map((row, index) => [100 * row[which].rate, index, 100 * row[which].low, 100 * row[which].high]);
  const series = (['before', 'after'] as const).flatMap((which, index) => {
    const offset = index === 0 ? -7 : 7;
    const color = COLORS[which];
    return [
      {
        type: 'custom',
        name: which,
        itemStyle: { color },
        encode: { x: [2, 3], y: 1 },
        data: points(which),
        renderItem: (_: unknown, api: { value: (at: number) => number; coord: (at: number[]) => number[] }) => {
          const [x, low, high] = [0, 2, 3].map((at) => api.coord([api.value(at), api.value(1)]));
          const y = x![1]! + offset;
          const line = { x1: low![0], y1: y, x2: high![0], y2: y };
          return {
            type: 'group',
            children: [
              { type: 'line', shape: line, style: { stroke: color, lineWidth: 2 } },
              { type: 'circle', shape: { cx: x![0], cy: y, r: 5 }, style: { fill: color } },
            ],
          };
        },
      },
    ];
  });
  return draw(70 + 52 * rows.length, {
    grid: { left: 230, right: 40, top: 34, bottom: 34 },
    legend: LEGEND,
    xAxis: { type: 'value', min: 0, max: 100, axisLabel: { formatter: '{value} %' } },
    yAxis: { type: 'category', data: names, axisLabel: { width: 210, overflow: 'break' }, splitLine: { show: true } },
    series,
  });
}

/** Clean accuracy and success of the recovered triggers while the model unlearned. */
export function tradeOffChart(moments: readonly Moment[]): string {
  const line = (name: string, color: string, key: 'cleanAccuracy' | 'attackSuccessRate') => ({
    type: 'line',
    name,
    itemStyle: { color },
    data: moments.map((moment) => [moment.step, Number((100 * moment[key]).toFixed(1))]),
  });
  return draw(300, {
    grid: { left: 75, right: 25, top: 40, bottom: 55 },
    legend: LEGEND,
    xAxis: { type: 'value', max: 'dataMax', ...axisName('steps of unlearning'), nameGap: 30 },
    yAxis: percentAxis('held-back images'),
    series: [
      line('clean accuracy', COLORS.after, 'cleanAccuracy'),
      line('attack success of recovered triggers', COLORS.before, 'attackSuccessRate'),
    ],
  });
}
