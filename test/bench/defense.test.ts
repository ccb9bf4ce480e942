import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { drawImages, loadBenchData } from '../../offline/bench/defense/data.ts';
import {
  GRIDS,
  attackOf,
  cellSchema,
  originOf,
  planCells,
  subjectName,
  victimName,
  type Block,
} from '../../offline/bench/defense/grid.ts';
import { recordSchema, type BenchRecord } from '../../offline/bench/defense/record.ts';
import { asHtml, asText, sections } from '../../offline/bench/defense/report.ts';
import { runCells, type Run } from '../../offline/bench/defense/run.ts';
import { openEngine, type Engine } from '../../offline/engine/engine.ts';
import { MODEL_FILES } from '../../offline/model.ts';
import { success } from '../../src/result.ts';
import { testDirectory } from '../support/directory.ts';
import { stripes } from '../support/planted.ts';

const grids = Object.entries(GRIDS);
const IDX = 'train-images-idx3-ubyte and t10k-images-idx3-ubyte';

describe('grids', () => {
  test.each(grids)('%s plans cells that are valid, all different, those of one victim side by side', (_, grid) => {
    const cells = planCells(grid);
    expect(cells.map((cell) => cellSchema.parse(cell))).toEqual(cells);
    expect(new Set(cells.map((cell) => `${subjectName(cell)}_${cell.method}`)).size).toBe(cells.length);
    const changes = cells.filter((cell, index) => index > 0 && subjectName(cell) !== subjectName(cells[index - 1]!));
    expect(changes.length + 1).toBe(new Set(cells.map(subjectName)).size);
  });

  test.each(grids)('%s has only attacks that can be made, with every label a target in its turn', (_, grid) => {
    for (const cell of planCells(grid)) {
      const attack = attackOf(cell, 10);
      expect(attack).toMatchObject({ seed: cell.seed, epochs: cell.epochs, architecture: cell.architecture });
      if (attack.kind !== 'none') expect(attack.targetLabel).toBe(cell.seed % 10);
    }
  });

  test('small and digits have three seeds of every planted victim and twenty clean models each', () => {
    for (const grid of ['small', 'digits'] as const) {
      const cells = planCells(GRIDS[grid]);
      expect(cells.filter(({ attack }) => attack === 'none').length).toBe(20);
      for (const attack of ['badnets-3', 'trojannn', 'imc', 'blended', 'additive']) {
        const ours = cells.filter((cell) => cell.attack === attack && cell.method === 'ours');
        const further = grid === 'digits' && attack === 'imc' ? [4, 5] : [];
        expect(ours.map(({ seed }) => seed)).toEqual([1, 2, 3, ...further]);
      }
    }
  });

  test('victims of colour go on from the clean network of their seed, which is a control too', () => {
    const cells = planCells(GRIDS.colour);
    const controls = new Map(cells.flatMap((cell) => (cell.attack === 'none' ? [[victimName(cell), cell]] : [])));
    for (const cell of cells.filter(({ attack }) => attack !== 'none')) {
      const origin = originOf(cell)!;
      const control = controls.get(victimName(origin))!;
      expect(attackOf(origin, 10)).toEqual(attackOf(control, 10));
      expect(originOf(origin)).toBeUndefined();
    }
    expect(originOf(planCells(GRIDS.small)[0]!)).toBeUndefined();
  });

  test('victims and controls of colour-trained go on from a network that the user gives, not from one of the grid', () => {
    const cells = planCells(GRIDS['colour-trained']);
    expect(cells.filter(({ startGiven }) => startGiven)).toEqual(cells);
    expect(cells.flatMap((cell) => originOf(cell) ?? [])).toEqual([]);
    const attacks = (grid: readonly Block[]) => [...new Set(planCells(grid).map(({ attack }) => attack))];
    expect(attacks(GRIDS['colour-trained'])).toEqual(attacks(GRIDS.colour));
  });

  test('the images of a cell are disjoint, the same for the same seed, and fail where there are too few', async () => {
    const [cell] = planCells(GRIDS.smoke);
    const data = await loadBenchData('example', {});
    if (!data.ok) throw new Error(data.error);
    const drawn = drawImages(data.value, cell!);
    if (!drawn.ok) throw new Error(drawn.error);
    const { train, clean, evaluation } = drawn.value;
    expect([train.count, clean.count, evaluation.count]).toEqual([1200, 300, 400]);
    const pictures = [train, clean, evaluation].flatMap(({ images, count }) =>
      Array.from({ length: count }, (_, index) => images.subarray(index * 784, (index + 1) * 784).join()),
    );
    expect(new Set(pictures).size).toBe(1900);
    expect(drawImages(data.value, cell!)).toEqual(drawn);
    const error = 'example: expected 1 images and 800 others, got 1200 and 800';
    expect(drawImages(data.value, { ...cell!, cleanCount: 401 })).toEqual({
      ok: false,
      error: error.replace('800', '801'),
    });
  });

  test('a data set without its folder, or with one that holds none, is named by its flag', async () => {
    const error = '--mnist: expected the folder of this data set, which the grid needs';
    expect(await loadBenchData('mnist', {})).toEqual({ ok: false, error });
    const empty = await testDirectory();
    const folders = { fashion: empty, cifar100: empty };
    expect(await loadBenchData('fashion', folders)).toMatchObject({
      error: `--fashion ${empty}: expected ${IDX} in it`,
    });
    expect(await loadBenchData('cifar100', folders)).toMatchObject({
      ok: false,
      error: expect.stringContaining(`--cifar100: ${empty}`) as string,
    });
  });
});

describe('a small grid of a tiny victim', () => {
  const block: Block = {
    data: ['example'],
    architecture: 'small-cnn',
    attacks: ['badnets-3'],
    epochs: 12,
    trainCount: null,
    cleanCounts: [120],
    evaluationCount: 200,
    methods: ['none', 'ours', 'probe'],
    seeds: [2],
  };
  const cells = planCells([block]);
  let engine: Engine;
  let directory: string;
  let loads = 0;
  let records: BenchRecord[];
  const run = (): Run => ({
    directory,
    load: async () => {
      loads += 1;
      return success({ train: stripes(800, 1, 'bench/train'), test: stripes(400, 1, 'bench/test') });
    },
    engine,
    progress: { stage: (_name, _label, work) => work(() => {}) },
    now: () => new Date('2026-01-02T03:04:05Z'),
  });
  const files = async (): Promise<string[]> => (await readdir(join(directory, 'records'))).toSorted();
  const texts = async (): Promise<string[]> =>
    Promise.all((await files()).map((file) => readFile(join(directory, 'records', file), 'utf8')));

  beforeAll(async () => {
    const opened = await openEngine('wasm');
    if (!opened.ok) throw new Error(opened.error);
    engine = opened.value;
    directory = await mkdtemp(join(tmpdir(), 'trigger-guard-test-'));
    const done = await runCells(cells, run());
    if (!done.ok) throw new Error(done.error);
    records = done.value;
  }, 240_000);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  test('has one valid record a cell, with all that was measured', async () => {
    expect(records.map(({ cell }) => cell)).toEqual(cells);
    const written = (await texts()).map((text) => recordSchema.parse(JSON.parse(text)));
    expect(written).toEqual(expect.arrayContaining(records));
    const [none, ours, probe] = records;
    if (none?.kind !== 'defense' || ours?.kind !== 'defense' || probe?.kind !== 'detector') throw new Error('kinds');
    expect(none).toMatchObject({ after: none.before, der: 0.5, findings: null, recoverySeconds: null });
    expect(none.before.attackSuccessRate).toBeGreaterThan(0.8);
    expect(ours.before).toEqual(none.before);
    // What the scan grades as a backdoor is repaired and watched; what it does not stays as it is.
    const found = ours.findings!.some(({ targetLabel, grade }) => targetLabel === 2 && grade === 'backdoor');
    expect(probe.findings).toEqual(ours.findings);
    expect(ours.after.attackSuccessRate! < 0.3).toBe(found);
    expect(ours.der! > 0.8).toBe(found);
    expect(probe.auroc > 0.9).toBe(found);
    expect(new Set(records.map(({ victim }) => victim.digest)).size).toBe(1);
  });

  test('is not measured again: a second run reads nothing but the records', async () => {
    const before = await texts();
    const again = await runCells(cells, run());
    expect(again).toEqual(success(records));
    expect(await texts()).toEqual(before);
    expect(loads).toBe(1);
  });

  test('takes the victim that is there for a cell that is new', async () => {
    const more = await runCells(planCells([{ ...block, methods: ['none', 'fine-tuning'] }]), run());
    if (!more.ok) throw new Error(more.error);
    const [none, tuned] = more.value;
    expect(none).toEqual(records[0]);
    expect(tuned!.victim).toEqual(none!.victim);
    expect(tuned).toMatchObject({ kind: 'defense', findings: null, cleanDigest: none!.cleanDigest });
    expect(await readdir(join(directory, 'victims'))).toEqual(['example_small-cnn_badnets-3_2']);
  });

  test('goes on from the network that the user put into the folder of its seed, and names that folder where there is none', async () => {
    const further = planCells([{ ...block, startGiven: true, epochs: 1, methods: ['none'] }]);
    const elsewhere = await testDirectory();
    const start = join(elsewhere, 'starts', '2');
    const missing = await runCells(further, { ...run(), directory: elsewhere });
    expect(missing).toMatchObject({ ok: false, error: expect.stringContaining(start) as string });
    const before = join(directory, 'victims', 'example_small-cnn_badnets-3_2');
    await mkdir(start, { recursive: true });
    for (const file of MODEL_FILES) await copyFile(join(before, file), join(start, file));
    const made = await runCells(further, { ...run(), directory: elsewhere });
    if (!made.ok) throw new Error(made.error);
    expect(made.value[0]!.victim.card.startDigest).toBe(records[0]!.victim.digest);
  });

  test('refuses, by its name, a record of another grid and one that is damaged', async () => {
    const other = await runCells(planCells([{ ...block, epochs: 3 }]), run());
    expect(other).toMatchObject({
      ok: false,
      error: expect.stringMatching(/_none\.json: cell: expected .*another grid$/) as string,
    });
    const file = join(
      directory,
      'records',
      (await files()).find((name) => name.endsWith('_none.json'))!,
    );
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace('"der"', '"red"'));
    const damaged = await runCells(cells, run());
    await writeFile(file, text);
    expect(damaged).toMatchObject({
      ok: false,
      error: expect.stringMatching(/_none\.json: der: .*remove it/) as string,
    });
  });

  test('becomes tables: every method a row, and a page that needs nothing else', async () => {
    const text = asText(records);
    for (const method of block.methods) expect(text).toMatch(new RegExp(`^  ${method} +1 `, 'm'));
    const html = await asHtml(records, 'a <b> & "c"');
    expect(html).toContain('<h1>a &lt;b&gt; &amp; &quot;c&quot;</h1>');
    expect(html.match(/<tbody>/g)?.length).toBe(2);
    expect(html.match(/<dt>/g)?.length).toBe(3);
    expect(html).not.toMatch(/https?:|src=|<script/);
  });

  test('compares methods first on the victims that all of them met', () => {
    const [, ours] = records;
    const elsewhere = { ...ours!, cell: { ...ours!.cell, seed: 9 } };
    const [first, , second] = sections([...records, elsewhere]);
    expect(first!.title).toBe('Defences: met by every method');
    expect(first!.rows.map(([method, runs]) => [method, runs])).toContainEqual(['ours', '1']);
    expect(second!.rows.map(([method, runs]) => [method, runs])).toContainEqual(['ours', '2']);
    expect(sections(records)[0]!.title).not.toContain('met by every method');
  });

  test('shows means, the worst, and which labels were graded backdoors', () => {
    const [, ours] = records;
    if (ours?.kind !== 'defense') throw new Error('kinds');
    const change = (cleanAccuracy: number, attackSuccessRate: number, targetRecall: number): Partial<typeof ours> => ({
      before: { ...ours.before, cleanAccuracy: 0.9, attackSuccessRate: 1, targetRecall: 0.8 },
      after: {
        ...ours.after,
        cleanAccuracy,
        attackSuccessRate,
        targetRecall,
        robustAccuracy: 0.5,
        highestHitRate: 0.25,
      },
    });
    const finding = (targetLabel: number, grade: 'backdoor' | 'natural shortcut' = 'backdoor') => {
      return { targetLabel, grade, conviction: 1, resemblance: 0, transfer: 0, anomalyIndex: 2 };
    };
    const [section] = sections([
      {
        ...ours,
        ...change(0.88, 0.01, 0.8),
        findings: [finding(2), finding(3, 'natural shortcut')],
        der: 0.9,
        seconds: 5,
        recoverySeconds: 10,
      },
      {
        ...ours,
        ...change(0.9, 0.03, 0.7),
        findings: [finding(1), finding(2)],
        der: 0.95,
        seconds: 7,
        recoverySeconds: 10,
      },
    ]);
    const found = ['2 of 2', '1 of 2'];
    const figures = ['100.0 %', '2.0 %', '3.0 %', '90.0 %', '-1.0', '-2.0', '50.0 %', '25.0 %', '-5.0', '-10.0'];
    expect(section!.rows[1]).toEqual(['ours', '2', ...found, ...figures, '0.925', '16']);
    expect(section!.rows[0]!.length).toBe(section!.rows[1]!.length);
  });
});
