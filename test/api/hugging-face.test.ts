import { expect, test } from 'vitest';
import { hfAnswer } from '../../src/api/hugging-face.ts';

const names = ['a', 'b', 'c', 'd', 'e', 'f'];
const result = { scores: [0.1, 0.4, 0.2, 0.1, 0.1, 0.1], logits: [0, 2, 1, 0, 0, 0] };

test('the answer is the five best labels by softmax, unless the parameters say otherwise', () => {
  expect(hfAnswer(result, names, undefined).map(({ label }) => label)).toEqual(['b', 'c', 'a', 'd', 'e']);
  expect(hfAnswer(result, names, { top_k: 1 })).toEqual([{ label: 'b', score: 0.4 }]);
  expect(hfAnswer(result, names, { top_k: 2, function_to_apply: 'none' })).toEqual([
    { label: 'b', score: 2 },
    { label: 'c', score: 1 },
  ]);
  const [best] = hfAnswer(result, names, { top_k: null, function_to_apply: 'sigmoid' });
  expect(best!.score).toBeCloseTo(0.8808, 4);
});
