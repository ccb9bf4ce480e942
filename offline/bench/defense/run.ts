/** Runs the cells of a grid that have no record yet; what its cells share is made when the first of them needs it. */
import { join } from 'node:path';
import { foldBatchNorm } from '../../../src/network/fold.ts';
import { success, type Result } from '../../../src/result.ts';
import type { Attack } from '../../attack/attack.ts';
import { loadStart } from '../../attack/make-victim.ts';
import type { Victim } from '../../attack/victim.ts';
import { DEFENSES, type Defense } from '../../baseline/defense.ts';
import { DETECTORS, type Detector, type Fitted } from '../../baseline/detector.ts';
import { BALANCE_VARIANTS, STEP_VARIANTS } from '../../baseline/variants.ts';
import { digestDataset, type Dataset } from '../../data/dataset.ts';
import type { Engine } from '../../engine/engine.ts';
import { uninterrupted } from '../../interrupt.ts';
import { digestModel, type Model } from '../../model.ts';
import type { Progress } from '../../progress.ts';
import { splitClean } from '../../recover/screening.ts';
import { recoverTriggers, type Recovered } from '../../recovered.ts';
import { investigate, isBackdoor, type Scan } from '../../scan.ts';
import { TOOL } from '../../purify.ts';
import { withGrown } from '../../unlearn/cut.ts';
import { unlearnInRounds, type Forgotten } from '../../unlearn/rounds.ts';
import { drawImages, type BenchData, type Drawn } from './data.ts';
import { attackOf, originOf, subjectName, victimName, type Cell, type DataName } from './grid.ts';
import { attackImages, effectiveness, measureDetector, measureRates, type Attacked } from './measure.ts';
import { loadRecord, saveRecord, type BenchRecord, type Rates } from './record.ts';
import { obtainVictim } from './victims.ts';

export type Run = {
  /** Where records and victims lie. */
  directory: string;
  load: (data: DataName) => Promise<Result<BenchData>>;
  engine: Engine;
  progress: Progress;
  now: () => Date;
};

/** A victim with one set of clean images. */
type Subject = {
  victim: Victim;
  model: Model;
  clean: Dataset;
  evaluation: Dataset;
  attacked: Attacked[];
  before: Rates;
  recovered: () => Promise<Timed<Scanned>>;
  forgotten: () => Promise<Forgotten>;
};

type Scanned = Recovered & { scan: Scan };
type Timed<T> = { value: T; seconds: number };
type Surroundings = Omit<BenchRecord, 'kind' | 'findings' | 'recoverySeconds' | 'seconds'>;

/** Measures every cell once and gives the records in the order of the cells; an existing record is kept as it is. */
export async function runCells(cells: readonly Cell[], run: Run): Promise<Result<BenchRecord[]>> {
  const records: BenchRecord[] = [];
  const groups = [...Map.groupBy(cells, subjectName).values()];
  let data: { name: DataName; value: BenchData } | undefined;
  for (const group of groups) {
    let subject: Subject | undefined;
    for (const cell of group) {
      const existing = await loadRecord(run.directory, cell);
      if (!existing.ok) return existing;
      if (existing.value) {
        records.push(existing.value);
        continue;
      }
      if (data?.name !== cell.data) {
        const loaded = await run.load(cell.data);
        if (!loaded.ok) return loaded;
        data = { name: cell.data, value: loaded.value };
      }
      if (!subject) {
        const made = await makeSubject(cell, data.value, run);
        if (!made.ok) return made;
        subject = made.value;
      }
      const record = await runCell(cell, subject, run);
      const saved = await uninterrupted(() => saveRecord(run.directory, record));
      if (!saved.ok) return saved;
      records.push(record);
    }
  }
  return success(records);
}

async function makeSubject(cell: Cell, data: BenchData, run: Run): Promise<Result<Subject>> {
  const { seed } = cell;
  const { engine, progress } = run;
  const images = drawImages(data, cell);
  if (!images.ok) return images;
  const { clean, evaluation } = images.value;
  const made = await victimOf(cell, images.value, run);
  if (!made.ok) return made;
  const victim = made.value;
  const model = foldBatchNorm(victim.model.network, victim.model.weights);
  const attacked = attackImages(victim, evaluation);
  const recovered = once(async () => {
    const { scan, recovery } = await investigate(model, clean, { engine, seed, progress });
    return { scan, ...(await recoverTriggers(recovery, scan, scan.findings.filter(isBackdoor), progress)) };
  });
  const forgotten = once(async () => {
    const { value } = await recovered();
    return unlearnInRounds(value, value.scan.screenings, 'late', progress);
  });
  return success({
    victim,
    model,
    clean,
    evaluation,
    attacked,
    before: await measureRates(model, victim, evaluation, attacked),
    recovered,
    forgotten: async () => (await forgotten()).value,
  });
}

/** The victim of a cell, and before it the clean network of the grid that it goes on from, if it does. */
async function victimOf(cell: Cell, images: Pick<Drawn, 'train' | 'evaluation'>, run: Run): Promise<Result<Victim>> {
  const { train, evaluation } = images;
  const attack = attackOf(cell, train.labelNames?.length ?? 0);
  const start = await startOf(cell, attack, images, run);
  if (!start.ok) return start;
  const name = victimName(cell);
  return run.progress.stage('victim', name, (report) =>
    obtainVictim(run.directory, name, attack, { train, test: evaluation, start: start.value }, report),
  );
}

/** The clean network that a cell's victim goes on from, if it does: one of the grid, or what the user put into the folder `starts`. */
async function startOf(
  cell: Cell,
  attack: Attack,
  images: Pick<Drawn, 'train' | 'evaluation'>,
  run: Run,
): Promise<Result<Model | undefined>> {
  if (cell.startGiven) return loadStart(join(run.directory, 'starts', `${cell.seed}`), attack, images.train);
  const origin = originOf(cell);
  if (!origin) return success(undefined);
  const made = await victimOf(origin, images, run);
  return made.ok ? success(made.value.model) : made;
}

/** Does work when it is first asked for, and times it. */
function once<T>(work: () => Promise<T>): () => Promise<Timed<T>> {
  let result: Promise<Timed<T>> | undefined;
  return () => (result ??= timed(work));
}

async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const start = performance.now();
  const value = await work();
  return { value, seconds: (performance.now() - start) / 1000 };
}

function runCell(cell: Cell, subject: Subject, run: Run): Promise<BenchRecord> {
  const defense = [...DEFENSES, ...STEP_VARIANTS, ...BALANCE_VARIANTS].find(({ name }) => name === cell.method);
  if (defense) return runDefense(defense, cell, subject, run);
  const detector = DETECTORS.find(({ name }) => name === cell.method);
  if (!detector) throw new Error(`bench: there is no method "${cell.method}"`);
  return runDetector(detector, cell, subject, run);
}

async function runDefense(defense: Defense, cell: Cell, subject: Subject, run: Run): Promise<BenchRecord> {
  const { engine, progress } = run;
  const { model, clean, victim, evaluation, attacked, before, forgotten } = subject;
  const scanned = defense.needsTriggers ? await subject.recovered() : undefined;
  const pools = scanned?.value.input.pools ?? [];
  const split = splitClean(clean, cell.seed);
  const { value: defended, seconds } = await timed(() =>
    defense.needsTriggers && !pools.length
      ? Promise.resolve(model)
      : progress.stage('defence', `${defense.name} on ${subjectName(cell)}`, (report) =>
          defense.run({ model, split, seed: cell.seed, engine, report, pools, forgotten }),
        ),
  );
  const after = await measureRates(defended, victim, evaluation, attacked);
  return {
    kind: 'defense',
    ...surroundingsOf(cell, subject, run),
    ...recoveryOf(scanned),
    before,
    after,
    der: effectiveness(before, after),
    seconds,
  };
}

async function runDetector(detector: Detector, cell: Cell, subject: Subject, run: Run): Promise<BenchRecord> {
  const { model, clean, evaluation, attacked } = subject;
  const scanned = detector.needsTriggers ? await subject.recovered() : undefined;
  const pools = scanned ? withGrown(scanned.value.input.pools, scanned.value.input.grown) : [];
  const cut = pools.length ? (await subject.forgotten()).cut : '';
  const input = { model, clean, seed: cell.seed, pools, cut };
  const { value, seconds } = await run.progress.stage('detector', `${detector.name} on ${subjectName(cell)}`, () =>
    timed(async () => {
      const fitted = detector.needsTriggers && !pools.length ? INDIFFERENT : await detector.fit(input);
      const { moreForwardPasses = 0 } = fitted;
      const forwardPasses = detector.forwardPasses + moreForwardPasses;
      return { ...(await measureDetector(fitted, evaluation, attacked)), forwardPasses };
    }),
  );
  return {
    kind: 'detector',
    ...surroundingsOf(cell, subject, run),
    ...recoveryOf(scanned),
    ...value,
    seconds,
  };
}

/** What a detector is that was given nothing to look for. */
const INDIFFERENT: Fitted = { score: async ({ count }) => new Float32Array(count) };

const recoveryOf = (scanned: Timed<Scanned> | undefined): Pick<BenchRecord, 'findings' | 'recoverySeconds'> => ({
  findings:
    scanned?.value.scan.findings.map(
      ({ targetLabel, grade, conviction, resemblance, transfer, anomalyIndex, faintness, advantage, noiseHitRate }) => {
        const { dense, smooth, warp } = faintness;
        const amplitudes = { faintness: dense, smoothFaintness: smooth, warpFaintness: warp };
        const compared = { ...amplitudes, advantage, noiseHitRate };
        return { targetLabel, grade, conviction, resemblance, transfer, anomalyIndex, ...compared };
      },
    ) ?? null,
  recoverySeconds: scanned?.seconds ?? null,
});

function surroundingsOf(cell: Cell, { victim, clean, evaluation }: Subject, { engine, now }: Run): Surroundings {
  const { kind, device, threads } = engine;
  return {
    schemaVersion: 1,
    cell,
    tool: { name: TOOL, node: process.version, engine: kind, device, threads },
    createdAt: now().toISOString(),
    victim: { digest: digestModel(victim.model), card: victim.card },
    cleanDigest: digestDataset(clean),
    evaluationDigest: digestDataset(evaluation),
  };
}
