import { expect, test } from 'vitest';
import type { Classification } from '../src/api/classify.ts';
import { blockReason, guardMarks, readPolicy } from '../src/guard-policy.ts';

const named = { label: 1, labelName: 'boot', scores: [0, 1], logits: [-9, 9] };
const clean: Classification = { ...named, guard: { verdict: 'clean', pValue: 0.5, threshold: 1, matches: [] } };
const match = { targetLabel: 0, targetLabelName: 'bag', pValue: 0.002, score: 7 };
const suspect: Classification = {
  ...named,
  guard: {
    verdict: 'suspect',
    pValue: 0.002,
    threshold: 1,
    matches: [
      { ...match, triggerId: 'label-0' },
      { ...match, triggerId: 'label-3' },
    ],
  },
};

test('the policy is flag unless one of the three is named exactly', () => {
  expect([undefined, 'flag', 'block', 'shadow'].map((name) => readPolicy(name))).toEqual(
    ['flag', 'flag', 'block', 'shadow'].map((value) => ({ ok: true, value })),
  );
  for (const wrong of ['', 'Block', 'off', ' flag']) {
    expect(readPolicy(wrong)).toEqual({
      ok: false,
      error: `GUARD_POLICY: expected flag, block, shadow, got "${wrong}"`,
    });
  }
});

test('the marks hold one verdict an image, and the best trigger of each suspect one', () => {
  expect(guardMarks([clean])).toEqual({ verdict: 'clean' });
  expect(guardMarks([suspect])).toEqual({ verdict: 'suspect', trigger: 'label-0' });
  expect(guardMarks([clean, suspect])).toEqual({
    verdict: 'clean, suspect',
    trigger: '-, label-0',
  });
  expect(guardMarks([{ ...named, guard: { verdict: 'off' } }])).toEqual({ verdict: 'off' });
});

test('a block names every suspect image and its trigger, and clean images have no reason', () => {
  expect(blockReason([clean, clean])).toBeUndefined();
  expect(blockReason([suspect])).toBe('blocked: the image carries the trigger label-0 (p-value 0.0020)');
  expect(blockReason([suspect, clean, suspect])).toBe(
    'blocked: image 0 carries the trigger label-0 (p-value 0.0020); image 2 carries the trigger label-0 (p-value 0.0020)',
  );
});
