/** A backdoor trigger and how it is stamped on images. */

/**
 * `blend`: x' = (1 - m) * x + m * p, with `mask` [H,W,1] and `pattern` [H,W,C] in 0..1.
 * `additive`: x' = clip(x + d, 0, 1), with `pattern` d [H,W,C] in -1..1.
 */
export type Trigger = {
  readonly targetLabel: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
} & (
  | { readonly kind: 'blend'; readonly mask: Float32Array; readonly pattern: Float32Array }
  | { readonly kind: 'additive'; readonly pattern: Float32Array }
);
