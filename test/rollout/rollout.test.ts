import { describe, expect, test } from 'vitest';
import { AUTOMATIC } from '../../src/rollout/rollout.ts';
import { emptyRollout, HISTORY_LIMIT, percentOf, phaseOf, readStored, servingOf } from '../../src/rollout/state.ts';
import { A, activate, after, apply, at, B, C, counts, health, last, operate, start, tick } from './histories.ts';

const good = counts(200);
const bad = counts(200, { disagreed: 60 });
const running = [activate(A), start(B)] as const;
const refusal = (step: ReturnType<typeof apply>): string => {
  const [effect] = step.effects;
  if (effect?.type !== 'refuse') throw new Error('expected a refusal');
  return effect.message;
};

describe('a release that serves at once', () => {
  test('says in the history that nothing served before it', () => {
    const { state, effects } = last(activate(A));
    const change = { revision: 1, type: 'activate', digest: A, previous: null, canaryPercent: 100 };
    expect(state.history).toEqual([{ ...change, actor: 'operate:1', reason: 'why', at: at(0) }]);
    expect(effects).toEqual([{ type: 'log', change: state.history[0] }]);
    expect(servingOf(state)).toEqual({ revision: 1, stable: A, canary: null, failed: [] });
  });

  test('changes nothing when it serves already', () => {
    expect(last(activate(A), activate(A))).toEqual({ state: after(activate(A)), effects: [] });
  });

  test('does NOT replace stable while a rollout runs, nor if it failed before', () => {
    expect(refusal(last(...running, activate(C)))).toMatch(/^a rollout of b+ is running/);
    expect(refusal(last(...running, operate('roll-back'), activate(B)))).toMatch(/^release b+ failed at revision 3/);
  });
});

describe('a rollout', () => {
  test('of the first release of all serves it at once', () => {
    expect(last(start(A)).state).toMatchObject({ stable: A, canary: null, history: [{ type: 'activate' }] });
  });

  test('goes to the next step when the hold is over and the evidence is good, and in the end to everybody', () => {
    const first = after(...running, health({ [A]: good, [B]: good }, 30));
    expect(percentOf(first.canary!)).toBe(5);
    const second = apply(first, tick(60)).state;
    expect(percentOf(second.canary!)).toBe(50);
    expect(apply(second, tick(10_000)).state.canary?.paused?.reason).toMatch(/^inconclusive/);
    const { state } = apply(second, health({ [A]: good, [B]: good }, 120));
    expect(state).toMatchObject({ stable: B, previousStable: A, canary: null, untold: [] });
    expect(state.history.at(-1)).toMatchObject({ type: 'promote', actor: AUTOMATIC });
  });

  test('takes back a bad release at once, remembers it and alerts once', () => {
    const { state, effects } = last(...running, health({ [A]: good, [B]: bad }, 1));
    expect(state).toMatchObject({ stable: A, canary: null, failed: [{ digest: B, revision: 3 }] });
    const alert = { kind: 'rollout-rolled-back', release: B, revision: 3 };
    expect(state.untold).toMatchObject([alert]);
    expect(effects.filter(({ type }) => type === 'alert')).toMatchObject([{ alert }]);
    expect(state.untold[0]!.reason).toBe(
      'disagreement with stable: 60 of 200, where 10 % is acceptable and 20 % is not',
    );
    expect(apply(state, health({ [B]: bad }, 2)).effects).toEqual([]);
    expect(apply(state, { type: 'told', revisions: [3] }).state.untold).toEqual([]);
  });

  test('pauses with one alert when the deadline passes without a sample, keeps its clients, and goes on when resumed', () => {
    const { state } = last(...running, tick(600));
    expect(state.canary?.paused).toEqual({
      actor: AUTOMATIC,
      reason: 'inconclusive after 600 s: 0 of at least 100 requests',
      at: at(600),
    });
    expect(state.untold).toMatchObject([{ kind: 'rollout-paused', release: B, revision: 3 }]);
    expect(servingOf(state).canary).toMatchObject({ digest: B, canaryPercent: 5 });
    expect(apply(state, tick(2000))).toEqual({ state, effects: [] });
    const resumed = apply(state, operate('resume', 3000)).state;
    expect(apply(resumed, tick(3599)).effects).toEqual([]);
    expect(apply(resumed, health({ [A]: good, [B]: good }, 3100)).state.history.at(-1)?.type).toBe('advance');
  });

  test('does NOT advance while an operator has paused it, but still fails', () => {
    const paused = after(...running, operate('pause', 5));
    expect(apply(paused, health({ [A]: good, [B]: good }, 100)).state.revision).toBe(paused.revision);
    expect(apply(paused, health({ [A]: good, [B]: bad }, 100)).state.failed).toMatchObject([{ digest: B }]);
  });

  test('does NOT start beside another, of the stable release, or on an outdated view', () => {
    expect(refusal(last(...running, start(C)))).toMatch(/is running/);
    expect(refusal(last(activate(A), start(A)))).toMatch(/is stable already/);
    const outdated = { ...start(C), expectedRevision: 1 };
    expect(refusal(last(...running, outdated))).toBe('the rollout is at revision 2, not at 1: look at it again');
  });

  test('started twice alike is one', () => {
    const state = after(...running);
    expect(apply(state, start(B, 9))).toEqual({ state, effects: [] });
  });

  test('of a release that failed needs a start of its own, which forgets the failure and draws clients anew', () => {
    const failed = after(...running, operate('roll-back'));
    const again = apply(failed, start(B)).state;
    expect(again).toMatchObject({ failed: [], canary: { digest: B } });
    expect(again.canary!.salt).not.toBe(after(...running).canary!.salt);
  });
});

describe('an operator', () => {
  test('promotes, aborts and rolls back what runs', () => {
    expect(last(...running, operate('promote')).state).toMatchObject({ stable: B, canary: null });
    expect(last(...running, operate('abort')).state).toMatchObject({ stable: A, canary: null, failed: [], untold: [] });
    const back = last(...running, operate('roll-back')).state;
    expect(back).toMatchObject({ stable: A, canary: null, failed: [{ digest: B }], untold: [{ release: B }] });
  });

  test('rolls stable back to what served before it, once', () => {
    const promoted = [...running, operate('promote'), operate('roll-back')];
    expect(last(...promoted).state).toMatchObject({ stable: A, previousStable: null, failed: [{ digest: B }] });
    expect(refusal(last(...promoted, operate('roll-back')))).toMatch(/^no release is known that served before/);
  });

  test('undoes a change of stable, and the undoing', () => {
    const undone = after(activate(A), activate(B), operate('undo'));
    expect(undone).toMatchObject({ stable: A, previousStable: B, failed: [] });
    expect(apply(undone, operate('undo')).state.stable).toBe(B);
  });

  test('does NOT bring back by undo what was aborted or failed, not even as what served before', () => {
    for (const operation of ['abort', 'roll-back'] as const) {
      expect(refusal(last(activate(A), activate(B), start(C), operate(operation), operate('undo')))).toMatch(
        /^only a change of the stable release can be undone/,
      );
    }
    const older = after(activate(A), activate(B), start(A), operate('roll-back'));
    expect(older.previousStable).toBeNull();
  });

  test.each(['pause', 'resume', 'promote', 'abort'] as const)('cannot %s where nothing runs', (operation) => {
    expect(refusal(last(activate(A), operate(operation)))).toBe(`no rollout is running that one could ${operation}`);
  });
});

describe('the stored state', () => {
  test('of every moment is read back as it was', () => {
    const events = [...running, tick(600), operate('resume', 700), health({ [A]: good, [B]: bad }, 800)];
    for (let length = 0; length <= events.length; length += 1) {
      const state = after(...events.slice(0, length));
      expect(readStored(JSON.parse(JSON.stringify(state)))).toEqual({ ok: true, value: state });
    }
  });

  test('of the code before canaries goes on: what served serves, and what served before can be put back', () => {
    const old = { actor: 'publish:1', reason: '', at: at(0), type: 'activate' };
    const history = [
      { ...old, revision: 1, digest: A, previous: null },
      { ...old, revision: 2, digest: B, previous: A },
    ];
    const read = readStored({ revision: 2, stable: B, history });
    if (!read.ok) throw new Error(read.error);
    expect(read.value).toEqual({
      ...emptyRollout,
      revision: 2,
      stable: B,
      previousStable: A,
      history: history.map((change) => ({ ...change, canaryPercent: 100 })),
    });
    expect(apply(read.value, operate('undo')).state.stable).toBe(A);
  });

  test('that is not readable is an error that says where', () => {
    const broken = { ...after(...running), stable: 'b' };
    expect(readStored(broken)).toEqual({
      ok: false,
      error: 'rollout: the stored state is not readable: stable: expected 64 lower-case hexadecimal digits',
    });
    expect(readStored({ ...emptyRollout, version: 3 }).ok).toBe(false);
  });

  test('keeps the latest 100 changes', () => {
    const many = Array.from({ length: 2 * HISTORY_LIMIT }, (_, index) => activate(index % 2 ? A : B, index));
    const { history, revision } = after(...many);
    expect(history.length).toBe(HISTORY_LIMIT);
    expect(history.at(-1)!.revision).toBe(revision);
  });

  test('says in one word where the rollout is', () => {
    const phases = [
      [],
      running,
      [...running, operate('pause')],
      [...running, operate('abort')],
      [...running, operate('roll-back')],
      [...running, operate('promote')],
      [...running, operate('promote'), operate('undo')],
    ].map((events) => phaseOf(after(...events)));
    expect(phases).toEqual(['none', 'running', 'paused', 'aborted', 'rolled-back', 'promoted', 'undone']);
  });
});
