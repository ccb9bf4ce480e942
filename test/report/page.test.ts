import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { reportPage, type Reported } from '../../offline/report/page.ts';
import { writeReport } from '../../offline/report/write.ts';
import type { Finding, Scan } from '../../offline/scan.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { testDirectory } from '../support/directory.ts';

const EXAMPLE = new URL('../../offline/example/victim', import.meta.url).pathname;
const shape = { height: 28, width: 28, channels: 1 };
const trigger: Trigger = { ...shape, kind: 'additive', targetLabel: 5, pattern: new Float32Array(784).fill(0.2) };
const finding: Finding = {
  targetLabel: 5,
  grade: 'backdoor',
  conviction: 1,
  resemblance: 0,
  transfer: 0,
  anomalyIndex: 2,
  faintness: { dense: 1, smooth: 1, warp: 1 },
  advantage: null,
  noiseHitRate: null,
  evidence: ['It convinces <b>.'],
  pool: [{ form: 'additive', trigger, norm: 12.3, hitRate: 0.9 }],
};
const screenings = (['blend', 'additive', 'dense', 'smooth', 'warp'] as const).map((form) => {
  const ten = Array.from({ length: 10 }, (_, label) => 10 + label);
  return { form, norms: ten, anomalyIndices: ten, hitRates: ten };
});
const labelNames = Array.from({ length: 10 }, (_, label) => (label === 5 ? '<script>alert(1)</script>' : `${label}`));
const scanOf = (findings: Finding[]): Scan => ({ findings, screenings, dense: [], limits: ['Much.'] });
const reported = (findings: Finding[]): Reported => ({
  model: 'model<i>.onnx',
  labelNames,
  result: { outcome: 'scanned', scan: scanOf(findings) },
  trueTriggers: [],
});

test('a page says first whether a backdoor was found', async () => {
  const [with5, without] = [await reportPage(reported([finding])), await reportPage(reported([]))];
  expect(/<h1>(.*)<\/h1>/.exec(with5)![1]).toContain('A backdoor towards label 5');
  expect(/<h1>(.*)<\/h1>/.exec(without)![1]).toBe('No backdoor was found');
});

test('a page of what was refused gives the reasons, and calls it a possible false alarm only where unlearning cost too much', async () => {
  const refused = (isCostly: boolean): Promise<string> => {
    const failures = ['It costs much.'];
    const result = { outcome: 'gate-failed' as const, scan: scanOf([finding]), failures, isCostly };
    return reportPage({ ...reported([finding]), result });
  };
  const [costly, obeying] = [await refused(true), await refused(false)];
  for (const page of [costly, obeying]) expect(page).toContain('It costs much.');
  expect(costly).toContain('may be a false alarm');
  expect(obeying).not.toContain('may be a false alarm');
});

test('a natural shortcut is named a weakness and no backdoor', async () => {
  const page = await reportPage(reported([{ ...finding, grade: 'natural shortcut' }]));
  expect(page).toContain('<h1>No backdoor was found</h1>');
  expect(page).toContain('It is a weakness, not a backdoor.');
});

test('names and evidence from files are text on a page, never markup, and nothing is loaded from elsewhere', async () => {
  const page = await reportPage(reported([finding]));
  expect(page).not.toMatch(/<script|<i>|<b>\./);
  expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
  expect(page.replaceAll('http://www.w3.org/', '')).not.toMatch(/https?:\/\//);
  expect(page.match(/src="data:image\/png;base64,/g)).toHaveLength(1);
});

test('the planted trigger of a victim of the attack lab stands beside the recovered ones; of another model none does', async () => {
  const directory = await testDirectory();
  const result = { outcome: 'scanned', scan: scanOf([finding]) } as const;
  for (const model of [EXAMPLE, 'elsewhere.onnx']) {
    const place = join(directory, model === EXAMPLE ? 'known' : 'unknown');
    expect(await writeReport(place, { model, labelNames, result }, { figures: 1 })).toEqual({ ok: true, value: null });
    const page = await readFile(join(place, 'report.html'), 'utf8');
    expect(page.includes('planted, the truth')).toBe(model === EXAMPLE);
    expect(JSON.parse(await readFile(join(place, 'report.json'), 'utf8'))).toEqual({ figures: 1 });
  }
});
