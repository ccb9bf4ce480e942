import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadDataset, loadUnlabelled } from '../../offline/data/load.ts';
import { saveDataset } from '../../offline/data/tensors.ts';
import { encodeSafetensors, type HostTensor } from '../../src/network/safetensors.ts';
import { counting, loadError, text, writeFiles } from '../support/data-files.ts';

describe('a safetensors file', () => {
  const images: HostTensor = { dtype: 'U8', shape: [2, 2, 3, 1], data: counting(12, 7) };
  const labels: HostTensor = { dtype: 'I32', shape: [2], data: Int32Array.from([1, 0]) };
  const file = (tensors: Record<string, HostTensor>, metadata?: Record<string, string>): Uint8Array =>
    encodeSafetensors(new Map(Object.entries(tensors)), metadata);

  test.each([[['a', 'b']], [null]])(
    'is saved and loaded with label names %j, leaving nothing else',
    async (labelNames) => {
      const place = await writeFiles({});
      const dataset = {
        images: images.data as Uint8Array,
        labels: labels.data as Int32Array,
        labelNames,
        count: 2,
        height: 2,
        width: 3,
        channels: 1,
      };
      expect(await saveDataset(path.join(place, 'set.safetensors'), dataset)).toEqual({ ok: true, value: undefined });
      expect(await readdir(place)).toEqual(['set.safetensors']);
      expect(await loadDataset(path.join(place, 'set.safetensors'))).toEqual({ ok: true, value: dataset });
      const missing = path.join(place, 'none', 'set.safetensors');
      const error = `${missing}: cannot be written: no such file or folder`;
      expect(await saveDataset(missing, dataset)).toEqual({ ok: false, error });
    },
  );

  test('is read with labels of 64 bits and other tensors beside', async () => {
    const header = {
      labels: { dtype: 'I64', shape: [1], data_offsets: [0, 8] },
      images: { dtype: 'U8', shape: [1, 1, 1, 1], data_offsets: [8, 9] },
      other: { dtype: 'U8', shape: [1], data_offsets: [9, 10] },
    };
    const json = text(JSON.stringify(header));
    const length = new Uint8Array(BigUint64Array.of(BigInt(json.length)).buffer);
    const place = await writeFiles({
      'a.safetensors': Uint8Array.from([...length, ...json, 5, 0, 0, 0, 0, 0, 0, 0, 77, 1]),
    });
    const result = await loadDataset(path.join(place, 'a.safetensors'));
    if (!result.ok) throw new Error(result.error);
    expect([...result.value.labels, ...result.value.images]).toEqual([5, 77]);
  });

  test.each([
    ['without labels', file({ images })],
    ['with labels, which are passed over', file({ images, labels }, { labelNames: '["a","b"]' })],
  ])('gives its images %s', async (_name, bytes) => {
    const place = await writeFiles({ 'a.safetensors': bytes });
    const loaded = await loadUnlabelled(path.join(place, 'a.safetensors'));
    expect(loaded).toMatchObject({ ok: true, value: { images: images.data, count: 2, labelNames: null } });
    if (loaded.ok) expect(loaded.value.labels).toEqual(Int32Array.of(0, 0));
  });

  const names = { labelNames: '["only"]' };
  const negative: HostTensor = { ...labels, data: Int32Array.from([0, -1]) };
  const floats: HostTensor = { dtype: 'F32', shape: [2, 2, 3, 1], data: new Float32Array(12) };
  test.each([
    ['no images', file({ labels }), 'images: expected U8 [N,H,W,C], got no such tensor'],
    ['images of floats', file({ images: floats, labels }), 'images: expected U8 [N,H,W,C], got F32 [2,2,3,1]'],
    [
      'images of two axes',
      file({ images: { ...images, shape: [2, 6] }, labels }),
      'images: expected U8 [N,H,W,C], got U8 [2,6]',
    ],
    ['no labels', file({ images }), 'labels: expected I32 or I64 [2], got no such tensor'],
    [
      'labels of another count',
      file({ images, labels: { ...labels, shape: [2, 1] } }),
      'expected I32 or I64 [2], got I32 [2,1]',
    ],
    ['a label out of range', file({ images, labels }, names), 'labels: expected 0 to 0, got 1 for image 0'],
    ['a negative label', file({ images, labels: negative }), 'labels: expected 0 or more, got -1 for image 1'],
    [
      'label names in another form',
      file({ images, labels }, { labelNames: 'a,b' }),
      'metadata: labelNames: expected a JSON list',
    ],
    [
      'label names that are numbers',
      file({ images, labels }, { labelNames: '[1]' }),
      'metadata: labelNames: expected a JSON list',
    ],
    ['a truncated file', file({ images, labels }).subarray(0, -1), 'safetensors: '],
  ])('is refused with %s', async (_name, bytes, expected) => {
    const error = await loadError({ 'a.safetensors': bytes }, 'a.safetensors');
    expect(error).toMatch(/^DATA\/a.safetensors: /);
    expect(error).toContain(expected);
  });
});
