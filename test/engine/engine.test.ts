import * as tf from '@tensorflow/tfjs-core';
import { availableParallelism } from 'node:os';
import { afterEach, describe, expect, test } from 'vitest';
import { closeEngine, openEngine } from '../../offline/engine/engine.ts';
import { proveNumerics } from '../../offline/engine/numerics.ts';
import { findAdapter } from '../../offline/engine/webgpu.ts';

describe('the WASM engine', () => {
  test('opens, says what it runs on, and passes the numerics check', async () => {
    const opened = await openEngine('wasm');
    if (!opened.ok) throw new Error(opened.error);
    expect(opened.value).toMatchObject({ kind: 'wasm', threads: Math.min(8, availableParallelism()) });
    expect(opened.value.device).toContain('SIMD');
    const proof = await proveNumerics();
    expect(proof.ok && proof.value.largestDifference).toBeLessThan(1e-5);
    expect(tf.getBackend()).toBe('wasm');
  });

  test('opens twice without harm', async () => {
    expect((await openEngine('wasm')).ok && (await openEngine('wasm')).ok).toBe(true);
    expect((await proveNumerics()).ok).toBe(true);
  });

  describe('with a broken kernel', () => {
    let kept: tf.KernelConfig | undefined;
    afterEach(() => {
      tf.unregisterKernel('Relu', 'wasm');
      tf.registerKernel(kept!);
    });

    test.each([
      ['slightly wrong', 1.001],
      ['not a number', NaN],
    ])('does NOT pass the numerics check when the kernel is %s', async (_name, factor) => {
      await openEngine('wasm');
      kept = tf.getKernel('Relu', 'wasm');
      tf.unregisterKernel('Relu', 'wasm');
      tf.registerKernel({
        ...kept,
        kernelFunc: ({ inputs }) => tf.mul(tf.maximum(inputs['x'] as tf.Tensor, 0), factor),
      });
      const proof = await proveNumerics();
      expect(proof.ok ? '' : proof.error).toContain('differs by');
      expect(tf.getBackend()).toBe('wasm');
    });
  });
});

test('the WebGPU engine opens and proves its numerics, or names the remedy', async () => {
  const opened = await openEngine('webgpu');
  if (opened.ok) {
    expect((await proveNumerics()).ok).toBe(true);
    closeEngine(opened.value);
  } else {
    expect(opened.error).toMatch(/^webgpu: .*(install|does not open).*--engine wasm$/);
  }
});

test('auto takes WebGPU only when an adapter that is no software renderer exists', async () => {
  const adapter = await findAdapter();
  const opened = await openEngine('auto');
  if (!opened.ok) throw new Error(opened.error);
  expect(opened.value.kind).toBe(adapter.found === 'adapter' && !adapter.software ? 'webgpu' : 'wasm');
  closeEngine(opened.value);
});
