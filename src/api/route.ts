/** What a route is, and what all of them share: roles, limits, errors. */
import * as z from 'zod';

export const BODY_LIMIT_BYTES = { release: 64 << 20, classify: 4 << 20, json: 16 << 10 };
export const REQUEST_LIMITS = { headers: 100, headerBytes: 32 << 10, queryCharacters: 2048, jsonDepth: 32 };

/** classify: ask for labels. publish: store releases and activate them. operate: rollouts and alerts. metrics: scrape. None includes another. */
export const ROLES = ['classify', 'publish', 'operate', 'metrics'] as const;
export type Role = (typeof ROLES)[number];

export type Content = z.ZodType | 'binary' | 'any';

export type Route = {
  method: 'get' | 'put' | 'post' | 'delete';
  path: string;
  summary: string;
  /** Who may call it; nobody named: everybody. */
  roles: readonly Role[];
  request?: Readonly<Record<string, Content>>;
  /** The parameters in the path; without it they are digests. */
  params?: z.ZodObject;
  query?: z.ZodObject;
  status: number;
  response: Content;
  /** The media type of the answer; without it JSON. */
  responseType?: string;
  /** The answer can also be JSON with binary data behind it. */
  alsoBinary?: true;
  /** The answer holds labels: its headers say which release gave them, and what the guard found. */
  guarded?: true;
  /** Errors are `messageResponse`, as another protocol wants them, instead of `errorResponse`. */
  plainErrors?: true;
  errors: readonly number[];
};
export type Routes = Readonly<Record<string, Route>>;

export const digestSchema = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hexadecimal digits');
export const statusResponse = z.strictObject({ status: z.string() });
export const errorResponse = z.strictObject({
  error: z.strictObject({ code: z.string(), message: z.string(), requestId: z.string() }),
});
export const messageResponse = z.strictObject({ error: z.string() });
