import { describe, expect, test } from 'vitest';
import type { Input } from '../../src/network/input.ts';
import { manifestSchema, type Source } from '../../src/release/manifest.ts';
import { testContent } from '../support/release.ts';

const { manifest } = testContent();
const input: Input = { layout: 'nchw', channels: 'rgb', scale: 255, mean: [0.5], std: [0.25] };
const source: Source = { format: 'onnx', digest: 'd'.repeat(64), input };
const withSource = (changed: object | undefined): unknown => {
  return { ...manifest, provenance: { ...manifest.provenance, source: changed } };
};

describe('the source of a manifest', () => {
  test('keeps how the model file wants its images', () => {
    expect(manifestSchema.parse(withSource(source)).provenance.source).toEqual(source);
  });

  test('says of a model in the form of this project that it takes images as they are', () => {
    const own = { ...source, format: 'network', input: null };
    expect(manifestSchema.parse(withSource(own)).provenance.source).toEqual(own);
  });

  test.each<[string, object | undefined]>([
    ['source', undefined],
    ['source.format', { ...source, format: 'pickle' }],
    ['source.digest', { ...source, digest: 'D'.repeat(64) }],
    ['source.input', { format: 'onnx', digest: source.digest }],
    ['source.input.std.0', { ...source, input: { ...input, std: [0] } }],
    ['source.input.scale', { ...source, input: { ...input, scale: Infinity } }],
    ['source.input.channels', { ...source, input: { ...input, channels: 'grb' } }],
  ])('is refused when %s does not fit', (path, changed) => {
    const { error } = manifestSchema.safeParse(withSource(changed));
    expect(error?.issues.map((issue) => issue.path.join('.'))).toEqual([`provenance.${path}`]);
  });
});
