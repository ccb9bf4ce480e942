import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FAINT, faintLabels, isFaint, isFaintIn, labelFaintness } from '../../offline/recover/faint.ts';
import { COVERING_FORMS, type CoveringForm } from '../../offline/recover/measure.ts';

const OTHERS = [0.25, 0.27, 0.22, 0.3, 0.28, 0.24, 0.26, 0.35, 0.29];
const MEDIAN = 0.27;
const screenings = (amplitudes: number[], form: CoveringForm = 'dense') => [
  { form: 'blend' as const, norms: amplitudes.map(() => 1) },
  { form, norms: amplitudes },
];

describe.each(COVERING_FORMS)('a label, by its %s triggers,', (form) => {
  test('is faint if it is reached at far less than the median amplitude of the others', () => {
    expect(isFaint(form, MEDIAN / (FAINT[form] + 0.01), OTHERS)).toBe(true);
    expect(isFaint(form, MEDIAN / (FAINT[form] - 0.01), OTHERS)).toBe(false);
  });

  test('is not faint, however far below the median, where labels differ as much by nature', () => {
    const scattered = [0.03, 0.3, 0.06, 0.15, 0.1, 0.5, 0.08, 0.2, 0.04];
    expect(isFaint(form, 0.1 / (FAINT[form] + 0.3), scattered)).toBe(false);
  });

  test('tells how many times fainter it is', () => {
    expect(labelFaintness(screenings([...OTHERS, 0.09], form), 9)[form]).toBeCloseTo(3, 9);
  });
});

test('faint labels are the same whatever the scale of the amplitudes, the faintest first', () => {
  const amplitudes = [0.09, ...OTHERS, 0.06];
  fc.assert(
    fc.property(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), (scale) => {
      expect(faintLabels(screenings(amplitudes.map((amplitude) => scale * amplitude)))).toEqual([
        { form: 'dense', label: 10 },
        { form: 'dense', label: 0 },
      ]);
    }),
  );
});

test('a label is faint in the forms in which its triggers are, and in no other', () => {
  const both = [...screenings([...OTHERS, 0.09]), ...screenings([...OTHERS, 0.14], 'smooth')];
  const faint = faintLabels(both);
  expect(isFaintIn(faint, 'dense', 9)).toBe(true);
  expect(isFaintIn(faint, 'smooth', 9)).toBe(false);
  expect(isFaintIn(faint, 'dense', 8)).toBe(false);
  expect(faintLabels(screenings([...OTHERS, 0.09], 'smooth'))).toEqual([{ form: 'smooth', label: 9 }]);
});

test('among three labels none is faint, since two others do not tell what is usual', () => {
  expect(faintLabels(screenings([0.3, 0.3, 0.05]))).toEqual([]);
  expect(faintLabels(screenings([0.3, 0.3, 0.3, 0.05]))).toEqual([{ form: 'dense', label: 3 }]);
});

test('labels that are all alike have no faint one among them, nor has a scan without dense triggers', () => {
  expect(faintLabels(screenings(OTHERS))).toEqual([]);
  expect(faintLabels(screenings(OTHERS).slice(0, 1))).toEqual([]);
});
