import type { Command } from 'commander';
import * as z from 'zod';
import { healthResponse, rolloutResponse } from '../../src/api/rollout.ts';
import { digestSchema } from '../../src/api/route.ts';
import { errorCount, type Counts } from '../../src/rollout/health.ts';
import { DEFAULT_PLAN, planSchema } from '../../src/rollout/plan.ts';
import { operations, type Operation } from '../../src/rollout/rollout.ts';
import { send, workerAt } from '../edge-client.ts';
import { flag, parseFlags, wholeNumber } from './flags.ts';
import { accept, print, Stop } from './outcome.ts';

const SUBJECT = 'rollout';
const SHOWN_CHANGES = 10;
const [usual] = DEFAULT_PLAN as [(typeof DEFAULT_PLAN)[number]];

const percents = z
  .string()
  .regex(/^\d+(\.\d+)?(,\d+(\.\d+)?)*$/, 'percentages separated by commas, such as 5,25,50')
  .transform((text) => text.split(',').map(Number));

const asked = { url: z.string(), tokenEnv: z.string(), json: flag };
const said = { reason: z.string().max(200, 'at most 200 characters'), ifRevision: wholeNumber(0, 2 ** 31).optional() };
const statusSchema = z.object(asked);
const operationSchema = z.object({ ...asked, ...said });
const startSchema = z.object({
  ...asked,
  ...said,
  steps: percents,
  hold: wholeNumber(0, 604_800),
  minRequests: wholeNumber(1, 10_000_000),
  deadline: wholeNumber(1, 1_209_600),
});

const descriptions: Record<Operation, string> = {
  pause: 'stop the clock of the rollout; clients keep the release that they have',
  resume: 'begin the step anew; what was counted stays',
  promote: 'make the canary serve everybody now',
  abort: 'take the canary away; it may be started again',
  'roll-back': 'take back the canary, or without one the stable release, and remember it as failed',
  undo: 'put back the stable release that the latest change replaced',
};

/** `rollout ...`: the operator's token comes from the environment only, where no list of processes shows it. */
export function addRollout(program: Command): void {
  const rollout = program.command('rollout').description('see and operate which release serves whom');
  withWorker(rollout.command('status').description('what serves, what runs, and the latest changes')).action(runStatus);
  withSaid(rollout.command('start').description('give a stored release to more and more clients'))
    .argument('<DIGEST>', 'release, as `publish` printed it')
    .option('--steps <LIST>', 'percent of the clients in each step; 0 is shadow', listOf(DEFAULT_PLAN))
    .option('--hold <SECONDS>', 'least time of a step', String(usual.holdSeconds))
    .option('--min-requests <N>', 'least requests to the canary in a step', String(usual.minRequests))
    .option('--deadline <SECONDS>', 'after which an undecided step is paused', String(usual.deadlineSeconds))
    .action(runStart);
  for (const operation of operations) {
    const command = rollout.command(operation).description(descriptions[operation]);
    withSaid(command).action((options: unknown) => runOperation(operation, options));
  }
}

const listOf = (plan: typeof DEFAULT_PLAN): string => plan.map(({ canaryPercent }) => canaryPercent).join(',');

const withWorker = (command: Command): Command =>
  command
    .requiredOption('--url <URL>', 'where the worker answers')
    .option('--token-env <NAME>', "environment variable that holds the operator's token", 'TRIGGER_GUARD_OPERATE_TOKEN')
    .option('--json', 'print JSON');

const withSaid = (command: Command): Command =>
  withWorker(command)
    .option('--reason <TEXT>', 'why, for the history', '')
    .option('--if-revision <N>', 'only if nothing has changed since this revision');

async function ask<T>(
  { url, tokenEnv }: { url: string; tokenEnv: string },
  schema: z.ZodType<T>,
  path: string,
  body?: object,
): Promise<T> {
  const token = process.env[tokenEnv];
  if (!token) throw new Stop(`--token-env: expected the operator's token in $${tokenEnv}, got none`);
  const worker = accept(workerAt(SUBJECT, url, token));
  const text = accept(await send(SUBJECT, worker, body ? 'POST' : 'GET', path, body));
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    throw new Stop(
      `rollout: ${worker.root}${path} answered something else than a Trigger Guard worker of this version`,
    );
  }
}

async function runStatus(options: unknown): Promise<void> {
  const flags = parseFlags(statusSchema, options);
  const rollout = await ask(flags, rolloutResponse, '/v1/rollouts');
  const { releases } = await ask(flags, healthResponse, '/v1/health?minutes=1');
  print(flags.json, { rollout, releases }, () =>
    [...describe(rollout), '', ...releases.map(({ digest, totals }) => `${short(digest)}  ${figures(totals)}`)].join(
      '\n',
    ),
  );
}

async function runStart(digest: string, options: unknown): Promise<void> {
  const flags = parseFlags(startSchema, options);
  const { steps, hold: holdSeconds, minRequests, deadline: deadlineSeconds } = flags;
  if (!digestSchema.safeParse(digest).success) {
    throw new Stop(`DIGEST: expected 64 lower-case hexadecimal digits, got "${digest}"`);
  }
  const plan = planSchema.safeParse(
    steps.map((canaryPercent) => ({ canaryPercent, holdSeconds, minRequests, deadlineSeconds })),
  );
  if (!plan.success) throw new Stop(`--steps: ${plan.error.issues[0]!.message}, got ${steps.join(',')}`);
  await change(flags, '/v1/rollouts', { digest, plan: plan.data });
}

async function runOperation(operation: Operation, options: unknown): Promise<void> {
  await change(parseFlags(operationSchema, options), '/v1/rollouts/operations', { operation });
}

async function change(flags: z.infer<typeof operationSchema>, path: string, body: object): Promise<void> {
  const { reason, ifRevision: expectedRevision } = flags;
  const rollout = await ask(flags, rolloutResponse, path, { ...body, reason, expectedRevision });
  print(flags.json, rollout, () => describe(rollout).join('\n'));
}

const short = (digest: string | null): string => digest?.slice(0, 12) ?? 'none';

function describe(rollout: z.infer<typeof rolloutResponse>): string[] {
  const { phase, revision, stable, canary, history } = rollout;
  const step = canary && canary.plan[canary.stepIndex]!;
  return [
    `${phase}, revision ${revision}`,
    `stable  ${stable ?? 'none'}`,
    ...(canary && step
      ? [
          `canary  ${canary.digest}`,
          `        step ${canary.stepIndex + 1} of ${canary.plan.length}: ${step.canaryPercent} % since ${canary.stepStartedAt}`,
          `        ${figures(canary.evidence.canary)}`,
          ...(canary.paused ? [`        paused by ${canary.paused.actor}: ${canary.paused.reason}`] : []),
        ]
      : []),
    '',
    ...history
      .slice(-SHOWN_CHANGES)
      .map(({ revision, at, type, digest, canaryPercent, actor, reason }) =>
        [revision, at, type, short(digest), `${canaryPercent} %`, actor, reason].join('  ').trimEnd(),
      ),
  ];
}

const figures = (counts: Counts): string =>
  [
    `${counts.requests} requests`,
    `${errorCount(counts)} errors`,
    `${counts.suspects} suspect`,
    `${counts.disagreed} of ${counts.compared} compared disagree`,
  ].join(', ');
