/**
 * Rate limits per client, by Cloudflare's rate limiting binding: it counts in each location of its own and roughly, without a call to
 * an object, which is what stopping a flood needs. The limits are in wrangler.toml.
 */
import type { Env } from './env.ts';
import { Refusal } from './http.ts';

/** The period of both limits in wrangler.toml; the binding does not tell it. */
const PERIOD_SECONDS = 60;

const LIMITS = ['CLASSIFY_LIMIT', 'FAILED_AUTHENTICATION_LIMIT'] as const;

/** The first limit that this worker lacks; without its limits it does not serve. */
export const missingLimit = (env: Env): string | undefined => LIMITS.find((name) => !env[name]);

/**
 * Counts a request of a client and refuses it with 429 when it is one too many. A binding that is missing is a faulty deployment and
 * refused with 503; one that fails lets the request through, for a failure of the counter must not end the service.
 */
export async function limitRate(env: Env, name: (typeof LIMITS)[number], client: string): Promise<void> {
  const limit = env[name];
  if (!limit) throw new Refusal(503, 'not_ready', `not ready: the rate limit ${name} is not bound`);
  const allowed = await limit.limit({ key: client }).then(
    ({ success }) => success,
    (error: unknown) => {
      console.error(JSON.stringify({ event: 'rate_limit_failed', limit: name, error: String(error) }));
      return true;
    },
  );
  if (allowed) return;
  const headers = { 'retry-after': String(PERIOD_SECONDS) };
  throw new Refusal(429, 'too_many_requests', `too many requests: try again in ${PERIOD_SECONDS} s`, headers);
}
