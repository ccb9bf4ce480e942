import type { AlertsObject } from './alerts/object.ts';
import type { ActivationsObject } from './retro-hunt/object.ts';
import type { HealthObject } from './health-object.ts';

/** What the worker is given: bindings of wrangler.toml, and its secrets, each a comma-separated list. */
export type Env = {
  RELEASES: R2Bucket;
  ROLLOUT: DurableObjectNamespace;
  HEALTH: DurableObjectNamespace<HealthObject>;
  ALERTS: DurableObjectNamespace<AlertsObject>;
  ACTIVATIONS: DurableObjectNamespace<ActivationsObject>;
  /** `off` serves unguarded, to measure what the guard costs; everything else guards. */
  GUARD?: string;
  /** What happens to a suspect input: `flag` (also when not set), `block` or `shadow`; anything else refuses every image. */
  GUARD_POLICY?: string;
  /** What clients of the other protocols call the model; `trigger-guard` when not set. */
  MODEL_NAME?: string;
  /** Public keys that may sign releases, base64 SPKI. */
  RELEASE_PUBLIC_KEYS?: string;
  /** SHA-256 of the bearer tokens of each role, hexadecimal. */
  CLASSIFY_TOKEN_SHA256?: string;
  PUBLISH_TOKEN_SHA256?: string;
  OPERATE_TOKEN_SHA256?: string;
  METRICS_TOKEN_SHA256?: string;
  /** The issuer whose JSON Web Tokens are accepted: all three are set, or none. */
  JWT_JWKS_URL?: string;
  JWT_ISSUER?: string;
  JWT_AUDIENCE?: string;
  /** Signs the sessions of the console; without 32 characters or more the console is off. */
  CONSOLE_SESSION_KEY?: string;
  /** `on` lets callers without a token classify. */
  ANONYMOUS_CLASSIFY?: string;
  /** Typed as if they could be missing, because a deployment can lack them. */
  CLASSIFY_LIMIT?: RateLimit;
  FAILED_AUTHENTICATION_LIMIT?: RateLimit;
  /** The sinks of alerts, a JSON list (src/alert/sink.ts). */
  ALERT_SINKS?: string;
  /** For how many days the image of an alert is kept; 0 keeps none. */
  EVIDENCE_IMAGES_DAYS?: string;
  /** Of how many images the activations are kept, for retro-hunts; 0 keeps none. */
  RETRO_HUNT_REQUESTS?: string;
};

/** What keeps an isolate at work after its answer: the part of ExecutionContext that is used. */
export type Waiter = { waitUntil(promise: Promise<unknown>): void };
