/** Clients that keep a worker busy, and the count of everything they ask. */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { Planned } from './requests.ts';

const CLIENTS = 8;
const RETRY_MS = 50;
const TIMEOUT_MS = 30_000;

const answerSchema = z.object({
  release: z.string(),
  label: z.int(),
  guard: z.object({ verdict: z.enum(['clean', 'suspect']), matches: z.array(z.unknown()) }),
});

/** `lost` requests got no answer though nothing was killed; `doubled` answers carry an id that another answer had. */
export type Tally = {
  sent: number;
  answered: number;
  lost: number;
  doubled: number;
  /** Connections that a kill ended; each request was sent again until it was answered. */
  cutByKill: number;
  classified: number;
  /** Of classified requests, the trigger matches that they told. */
  matches: number;
  /** Answers that are not what was planned, by `planned status > status`. */
  unexpected: Map<string, number>;
  /** Answers whose label or verdict differs from an earlier answer to the same image. */
  changed: number;
  releases: Set<string>;
  latenciesMs: number[];
};

export type Load = {
  tally: Tally;
  /** While it is set, connections may break. */
  killing: boolean;
  running: boolean;
  stop(): Promise<void>;
};

type Reply = { status: number; id: string; text: string };

/** Sends one request; rejects when the connection breaks or nothing comes for 30 s. */
function send(url: URL, agent: Agent, { headers, body }: Planned): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = {
      agent,
      method: 'POST',
      headers: { ...headers, 'content-length': body.length },
      timeout: TIMEOUT_MS,
    };
    const outgoing = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', reject);
      response.on('end', () => {
        const id = String(response.headers['x-request-id']);
        resolve({ status: response.statusCode!, id, text: Buffer.concat(chunks).toString() });
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time'))).on('error', reject);
    outgoing.end(body);
  });
}

/** Starts the clients; each sends its next request when the one before is answered. */
export function startLoad(worker: URL, plan: () => Planned): Load {
  const url = new URL('/v1/classify', worker);
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
  const tally: Tally = {
    sent: 0,
    answered: 0,
    lost: 0,
    doubled: 0,
    cutByKill: 0,
    classified: 0,
    matches: 0,
    unexpected: new Map(),
    changed: 0,
    releases: new Set(),
    latenciesMs: [],
  };
  const load = { tally, killing: false, running: true };
  const seenIds = new Set<string>();
  const known = new Map<Uint8Array, string>();

  const note = (planned: Planned, { status, id, text }: Reply, latencyMs: number): void => {
    tally.answered += 1;
    if (seenIds.has(id)) tally.doubled += 1;
    seenIds.add(id);
    if (status !== planned.status) {
      const key = `${planned.status} > ${status}`;
      tally.unexpected.set(key, (tally.unexpected.get(key) ?? 0) + 1);
      return;
    }
    if (status !== 200) return;
    const { release, label, guard } = answerSchema.parse(JSON.parse(text));
    tally.classified += 1;
    tally.matches += guard.matches.length;
    tally.releases.add(release);
    tally.latenciesMs.push(latencyMs);
    const answer = `${label} ${guard.verdict}`;
    const before = known.get(planned.body) ?? answer;
    if (before !== answer) tally.changed += 1;
    known.set(planned.body, before);
  };

  const askUntilAnswered = async (planned: Planned): Promise<void> => {
    for (;;) {
      const began = performance.now();
      try {
        const reply = await send(url, agent, planned);
        return note(planned, reply, performance.now() - began);
      } catch {
        if (!load.killing) {
          tally.lost += 1;
          return;
        }
        tally.cutByKill += 1;
        await sleep(RETRY_MS);
      }
    }
  };

  const client = async (): Promise<void> => {
    while (load.running) {
      tally.sent += 1;
      await askUntilAnswered(plan());
    }
  };
  const clients = Array.from({ length: CLIENTS }, client);
  const stop = async (): Promise<void> => {
    load.running = false;
    await Promise.all(clients);
    agent.destroy();
  };
  return Object.assign(load, { stop });
}

/** The value below which a share of the sorted values lies. */
export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
