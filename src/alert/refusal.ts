/** Why a release was refused, from the sentence that says so. */
import type { RefusalReason } from '../alert.ts';

const SIGNS: readonly (readonly [RefusalReason, RegExp])[] = [
  ['missing', /: the file is missing from the release$| is not stored$/],
  ['expiry', /\b(the release|it) expired at \d/],
  ['digest', /^release: expected digest |: the digest does not match the signature$/],
  ['signature', /^signature\.sigstore\.json: |: this worker trusts no key /],
  ['scope', /^manifest\.json: /],
];

/** The class of a refusal, from its `message` as `openRelease` and the worker's loader write it; whatever they do not name is `content`. */
export function refusalReason(message: string): RefusalReason {
  return SIGNS.find(([, sign]) => sign.test(message))?.[0] ?? 'content';
}
