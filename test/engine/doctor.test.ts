import { expect, test } from 'vitest';
import { doctor, formatDoctor, type DoctorReport } from '../../offline/doctor.ts';

test('the doctor examines this machine and prints every fact with a remedy for what is missing', async () => {
  const report = await doctor();
  expect(report.engine.ok).toBe(true);
  expect(report.numerics?.ok).toBe(true);
  expect(report.speed?.matmulGflops).toBeGreaterThan(0);
  expect(report.speed?.convolutionGflops).toBeGreaterThan(0);
  expect(report.versions.node).toBe(process.versions.node);
  const text = formatDoctor(report);
  expect(text).toMatch(/^engine +(wasm|webgpu)$/m);
  expect(text).toMatch(/^matmul +[\d.e+]+ GFLOP\/s/m);
  expect(text).toMatch(/^numerics +passed/m);
  expect(text.includes('a GPU (optional): ')).toBe(report.adapter.found !== 'adapter');
});

test('the doctor prints a failed numerics check and a missing package as such', () => {
  const report: DoctorReport = {
    engine: { ok: true, value: { kind: 'webgpu', device: 'a card', threads: 1 } },
    speed: { matmulGflops: 1234.5, convolutionGflops: 0.5 },
    numerics: { ok: false, error: 'webgpu: a small network differs by 2' },
    adapter: { found: 'adapter', name: 'llvmpipe', software: true },
    versions: { node: '24.0.0', tfjs: '4.22.0', wasmBackend: '4.22.0', webgpuPackage: null },
    cores: 4,
    missing: [{ what: 'right numbers', remedy: 'update the graphics driver' }],
  };
  const text = formatDoctor(report);
  expect(text).toContain('FAILED: webgpu: a small network differs by 2');
  expect(text).toContain('llvmpipe (software renderer; auto does not use it)');
  expect(text).toMatch(/^webgpu package +not installed$/m);
  expect(text).toContain('- right numbers: update the graphics driver');
});
