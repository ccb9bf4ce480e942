/** The paper's unlearning with other settings, for its own experiments: more or fewer steps, another balance of its loss. */
import { ASCENT_WEIGHTS } from '../unlearn/ascent.ts';
import { BAERASER_STEPS, PAPER_METHOD, unlearnByAscent, type Defense } from './defense.ts';

const STEPS = [10, 25, 50, 100, 200, 400];
/** beta over alpha. */
const BALANCES = [1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100];

const variant = (name: string, difference: string, run: Defense['run']): Defense => {
  const { source, differs } = PAPER_METHOD;
  return { name: `baeraser-${name}`, source, differs: [...differs, difference], needsTriggers: true, run };
};

/** Each number of steps is a run of its own, since the learning rate falls over the whole of it. */
export const STEP_VARIANTS: readonly Defense[] = STEPS.map((steps) =>
  variant(`steps-${steps}`, `${steps} steps.`, (input) => unlearnByAscent(input, ASCENT_WEIGHTS, steps)),
);

/** Alpha stays 1. */
export const BALANCE_VARIANTS: readonly Defense[] = BALANCES.map((beta) =>
  variant(`balance-${beta}`, `Beta over alpha is ${beta}.`, (input) =>
    unlearnByAscent(input, { ...ASCENT_WEIGHTS, alpha: 1, beta }, BAERASER_STEPS),
  ),
);
