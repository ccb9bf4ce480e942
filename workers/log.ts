/** The log: one line of JSON for each request, without bodies, addresses, query or tokens. */
import type { Call } from './http.ts';

/** Probes and open pages ask every few seconds and are only worth a line when they fail. */
const QUIET = ['health', 'ready', 'console-data'];
/** The classes of answers that are the service's own fault. */
const FAULT = 500;

/** Writes the line of an answered request; what is missing is left out. */
export function logRequest(c: Call, latencyMs: number): void {
  const operation = c.get('operation') as string | undefined;
  const { status, headers } = c.res;
  if (status < 400 && operation !== undefined && QUIET.includes(operation)) return;
  const entry = {
    event: 'request',
    requestId: c.get('requestId'),
    method: c.req.method,
    operation,
    status,
    latencyMs,
    actor: c.get('actor') as string | undefined,
    release: headers.get('x-release') ?? undefined,
    verdict: headers.get('x-guard-verdict') ?? undefined,
    error: c.get('failure') as string | undefined,
  };
  (status >= FAULT ? console.error : console.log)(JSON.stringify(entry));
}
