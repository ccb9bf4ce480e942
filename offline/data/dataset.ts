/** A labelled set of images in memory, whatever file it came from. */

/** `images` [N,H,W,C] in 0..255, `labels` [N]; `labelNames` [K] where the source names them. */
export type Dataset = {
  images: Uint8Array;
  count: number;
  height: number;
  width: number;
  channels: number;
  labels: Int32Array;
  labelNames: string[] | null;
};
