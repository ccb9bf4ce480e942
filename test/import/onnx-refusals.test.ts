/** What the ONNX importer says about models that it cannot import. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GivenInput } from '../../offline/import/imported.ts';
import { readOnnx } from '../../offline/import/onnx/onnx.ts';
import { patchOnnx } from '../../offline/import/onnx/patch.ts';
import { testDirectory } from '../support/directory.ts';
import { classifier, floats, ints, node, onnxBytes, type Node, type Parts } from './onnx-build.ts';
import { onnxFile } from './onnx-fixtures.ts';

async function refusal(parts: Parts, given: GivenInput = {}): Promise<string> {
  const file = path.join(await testDirectory(), 'model.onnx');
  await writeFile(file, onnxBytes(parts));
  const draft = await readOnnx(file, given);
  return draft.ok ? 'imported' : draft.error.replace(file, 'FILE');
}

/** The small classifier behind these nodes, which make `x` of `images`. */
function behind(...nodes: Node[]): Parts {
  const { nodes: rest, initializers } = classifier('x');
  return { nodes: [...nodes, ...rest], initializers };
}

describe('unsupported operators', () => {
  it('are all named at once, with their nodes, wherever they come from', async () => {
    const foreign = { ...node('FusedConv', ['a'], 'b'), domain: 'com.microsoft' };
    const nameless = { ...node('Celu', ['b'], 'x'), name: '' };
    const error = await refusal(behind(node('LayerNormalization', ['images'], 'a'), foreign, nameless));
    expect(error).toBe(
      'FILE: unsupported: LayerNormalization (node of a): the operator is not known; FusedConv (node of b): the operator is not known; Celu (x): the operator is not known',
    );
  });

  it('are not named where the logits do not need them', async () => {
    const parts = behind(node('Relu', ['images'], 'x'), node('NonMaxSuppression', ['images'], 'boxes'));
    expect(await refusal(parts)).toBe('imported');
  });

  it('are named when PyTorch exported them', async () => {
    const draft = await readOnnx(onnxFile('dynamo-unsupported'), {});
    expect(draft.ok ? 'imported' : draft.error).toMatch(
      /: unsupported: MatMul \(node_matmul\): expected a constant .*; Sin \(node_sin\): the operator is not known$/,
    );
  });

  it('keep the terminal as it is', async () => {
    const error = await refusal(behind({ ...node('Evil\u001b[2J\n\u202e', ['images'], 'x'), name: '\u0007bell' }));
    expect(error).toBe('FILE: unsupported: Evil?[2J?? (?bell): the operator is not known');
  });
});

describe('supported operators', () => {
  it('that are used in another way are all named at once, but not those behind them', async () => {
    const error = await refusal(
      behind(
        node('Elu', ['images'], 'a', [{ name: 'alpha', f: 2, type: 1 }]),
        node('Clip', ['images'], 'b', [{ name: 'min', f: -1, type: 1 }]),
        node('Cast', ['images'], 'c', [{ name: 'to', i: 3, type: 2 }]),
        node('Add', ['a', 'b'], 'd'),
        node('Add', ['c', 'd'], 'x'),
      ),
    );
    expect(error).toBe(
      'FILE: unsupported: Elu (node of a): attribute alpha: expected 1, got 2; ' +
        'Clip (node of b): expected limits 0 and 6, or 0 and none, got -1 and Infinity; ' +
        'Cast (node of c): expected a cast to floating-point numbers, got ONNX type 3',
    );
  });

  it.each(['keras-densenet', 'keras-mobile'])('padding with copies of the edge: %s', async (name) => {
    const draft = await readOnnx(onnxFile(name), name === 'keras-densenet' ? { scale: 255 } : {});
    expect(draft.ok ? 'imported' : draft.error).toMatch(
      /: unsupported: Pad \(\/Pad_\d\): expected padding with zeros, got mode edge with 0$/,
    );
  });

  it('products of activations with each other', async () => {
    const error = await refusal(behind(node('Relu', ['images'], 'a'), node('Mul', ['images', 'a'], 'x')));
    expect(error).toMatch(/^FILE: unsupported: Mul \(node of x\): expected a constant/);
  });

  it('dilated pooling', async () => {
    const attributes = [ints('kernel_shape', [2, 2]), ints('dilations', [2, 2])];
    const error = await refusal(behind(node('MaxPool', ['images'], 'x', attributes)));
    expect(error).toBe('FILE: unsupported: MaxPool (node of x): attribute dilations: expected 1,1');
  });
});

describe('the file', () => {
  it.each([8, 22])('of opset %i is refused with the range that is read', async (opset) => {
    expect(await refusal({ ...classifier('images'), opset })).toBe(`FILE: opset: expected 9 to 21, got ${opset}`);
  });

  it('whose channels cannot be told from its size asks for the layout', async () => {
    const error = await refusal({ ...classifier('images'), input: [0, 3, 8, 3] });
    expect(error).toMatch(/give --layout nchw or --layout nhwc$/);
    expect(await refusal({ ...classifier('images'), input: [0, 3, 8, 3] }, { layout: 'nchw' })).toBe('imported');
  });

  it('whose size is open asks for it, and takes it', async () => {
    const open = { ...classifier('images'), input: [0, 3, 0, 0] };
    expect(await refusal(open)).toMatch(/its height and width are not fixed in the file; give --size/);
    expect(await refusal(open, { size: { height: 8, width: 12 } })).toBe('imported');
  });

  it('whose size is fixed does not take another one', async () => {
    const error = await refusal(classifier('images'), { size: { height: 8, width: 12 } });
    expect(error).toBe('FILE: --size: expected 8x8, which the file fixes, got 8x12');
  });
});

describe('a patch is refused, and nothing is written,', () => {
  const values = Float32Array.of(1, 2, 3, 4, 5, 6);

  async function patchError(tensors: [string, Float32Array][]): Promise<string> {
    const folder = await testDirectory();
    const file = path.join(folder, 'model.onnx');
    await writeFile(file, onnxBytes(classifier('images')));
    const patched = await patchOnnx(file, new Map(tensors), path.join(folder, 'copy.onnx'));
    await expect(readOnnx(path.join(folder, 'copy.onnx'), {})).resolves.toMatchObject({ ok: patched.ok });
    return patched.ok ? 'written' : patched.error.replace(file, 'FILE');
  }

  it('for a tensor that the file has not', async () => {
    expect(await patchError([['kernel', values]])).toBe('written');
    expect(
      await patchError([
        ['kernel', values],
        ['other', values],
      ]),
    ).toBe('FILE: tensor "other": expected one in the file');
  });

  it.each([5, 7])('for %i values instead of 6', async (count) => {
    const error = await patchError([['kernel', new Float32Array(count)]]);
    expect(error).toBe(`FILE: tensor "kernel": expected 6 values, got ${count}`);
  });

  it('where the copy would lie over the model or another file', async () => {
    const file = path.join(await testDirectory(), 'model.onnx');
    await writeFile(file, onnxBytes({ ...classifier('images'), initializers: [floats('kernel', [2, 3, 1, 1])] }));
    const patched = await patchOnnx(file, new Map([['kernel', values]]), file);
    expect(patched.ok ? 'written' : patched.error).toMatch(/would overwrite/);
  });
});
