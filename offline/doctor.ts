/** `trigger-guard doctor`: what the engine runs on here, how fast, whether its numbers are right, and what is missing. */
import * as tf from '@tensorflow/tfjs-core';
import { version } from '@tensorflow/tfjs';
import { version_wasm } from '@tensorflow/tfjs-backend-wasm';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import type { Result } from '../src/result.ts';
import { closeEngine, openEngine, type Engine } from './engine/engine.ts';
import { proveNumerics } from './engine/numerics.ts';
import { adapterRemedy, findAdapter, type AdapterReport } from './engine/webgpu.ts';

export type DoctorReport = {
  /** What `--engine auto` picks. */
  engine: Result<Engine>;
  /** Medians on that engine, one thread; null when no engine opens. */
  speed: { matmulGflops: number; convolutionGflops: number } | null;
  numerics: Result<{ largestDifference: number }> | null;
  adapter: AdapterReport;
  versions: { node: string; tfjs: string; wasmBackend: string; webgpuPackage: string | null };
  cores: number;
  missing: { what: string; remedy: string }[];
};

/** Examines this machine; takes two or three seconds and leaves no engine open. */
export async function doctor(): Promise<DoctorReport> {
  const adapter = await findAdapter();
  const engine = await openEngine('auto');
  const speed = engine.ok ? await measureSpeed(engine.value) : null;
  const numerics = engine.ok ? await proveNumerics() : null;
  if (engine.ok) closeEngine(engine.value);
  return {
    engine,
    speed,
    numerics,
    adapter,
    versions: {
      node: process.versions.node,
      tfjs: version.tfjs,
      wasmBackend: version_wasm,
      webgpuPackage: packageVersion('webgpu'),
    },
    cores: availableParallelism(),
    missing: whatIsMissing(engine, numerics, adapter),
  };
}

/** The report as lines for a terminal. */
export function formatDoctor(report: DoctorReport): string {
  const { engine, speed, numerics, adapter, versions, missing } = report;
  const gflops = (value: number): string => `${value.toPrecision(3)} GFLOP/s`;
  const lines: [string, string][] = [
    ['engine', engine.ok ? engine.value.kind : engine.error],
    ['device', engine.ok ? engine.value.device : 'none'],
    ['threads', `${engine.ok ? engine.value.threads : 0} (${report.cores} cores)`],
    ['matmul', speed ? `${gflops(speed.matmulGflops)} on one thread` : 'not measured'],
    ['convolution', speed ? `${gflops(speed.convolutionGflops)} on one thread` : 'not measured'],
    ['numerics', describeNumerics(numerics)],
    ['GPU adapter', adapter.found === 'adapter' ? adapterName(adapter) : 'none'],
    ['node', versions.node],
    ['tfjs', `${versions.tfjs}, WASM backend ${versions.wasmBackend}`],
    ['webgpu package', versions.webgpuPackage ?? 'not installed'],
  ];
  const rows = lines.map(([name, value]) => `${name.padEnd(16)}${value}`);
  const remedies = missing.map(({ what, remedy }) => `- ${what}: ${remedy}`);
  return [...rows, '', ...(missing.length ? ['missing:', ...remedies] : ['Nothing is missing.'])].join('\n');
}

const adapterName = (adapter: { name: string; software: boolean }): string =>
  adapter.software ? `${adapter.name} (software renderer; auto does not use it)` : adapter.name;

function describeNumerics(numerics: DoctorReport['numerics']): string {
  if (!numerics) return 'not checked';
  if (!numerics.ok) return `FAILED: ${numerics.error}`;
  return `passed, differs by ${numerics.value.largestDifference.toExponential(1)} from the cpu backend`;
}

function whatIsMissing(
  engine: DoctorReport['engine'],
  numerics: DoctorReport['numerics'],
  adapter: AdapterReport,
): DoctorReport['missing'] {
  const missing = [];
  if (!engine.ok) missing.push({ what: 'an engine', remedy: engine.error });
  if (numerics && !numerics.ok) {
    missing.push({
      what: 'right numbers',
      remedy: 'update the graphics driver, or use the other engine with --engine',
    });
  }
  if (adapter.found !== 'adapter') missing.push({ what: 'a GPU (optional)', remedy: adapterRemedy(adapter) });
  return missing;
}

function packageVersion(name: string): string | null {
  try {
    const { version: found } = createRequire(import.meta.url)(`${name}/package.json`) as { version: string };
    return found;
  } catch {
    return null;
  }
}

async function measureSpeed({ kind }: Engine): Promise<NonNullable<DoctorReport['speed']>> {
  // A GPU finishes one such operation sooner than the wait for its answer takes.
  const repeats = kind === 'webgpu' ? 50 : 1;
  const size = 1024;
  const [batch, side, channels] = [32, 32, 32];
  const matrix = tf.randomNormal<tf.Rank.R2>([size, size]);
  const images = tf.randomNormal<tf.Rank.R4>([batch, side, side, channels]);
  const filter = tf.randomNormal<tf.Rank.R4>([3, 3, channels, channels]);
  const matmulSeconds = await medianSeconds(() => tf.matMul(matrix, matrix), repeats);
  const convolutionSeconds = await medianSeconds(() => tf.conv2d(images, filter, 1, 'same'), repeats);
  tf.dispose([matrix, images, filter]);
  return {
    matmulGflops: (2 * size ** 3) / matmulSeconds / 1e9,
    convolutionGflops: (2 * batch * side * side * 9 * channels * channels) / convolutionSeconds / 1e9,
  };
}

/** The median time of one operation over five rounds of `repeats`, after one round to warm up. */
async function medianSeconds(operation: () => tf.Tensor, repeats: number): Promise<number> {
  const seconds: number[] = [];
  for (let round = 0; round < 6; round++) {
    const start = performance.now();
    // One number is read back, so that the round is over and little is copied.
    const one = tf.tidy(() => {
      let last = operation();
      for (let repeat = 1; repeat < repeats; repeat++) {
        last.dispose();
        last = operation();
      }
      return tf.slice(tf.reshape(last, [-1]), 0, 1);
    });
    await one.data();
    one.dispose();
    if (round > 0) seconds.push((performance.now() - start) / 1000 / repeats);
  }
  return seconds.sort((a, b) => a - b)[2]!;
}
