/** What the next convolution is of, for every way to convolve; pointers are bytes into the imported memory. */

/** The convolution that was described last. */
export let images: usize = 0;
export let batch: i32 = 0;
export let height: i32 = 0;
export let width: i32 = 0;
export let channels: i32 = 0;
export let top: i32 = 0;
export let left: i32 = 0;
export let results: usize = 0;
export let outHeight: i32 = 0;
export let outWidth: i32 = 0;
export let outputs: i32 = 0;
export let filterHeight: i32 = 0;
export let filterWidth: i32 = 0;
export let strideY: i32 = 0;
export let strideX: i32 = 0;

export const LINE_BYTES: usize = 64;

/**
 * Says what the next calls convolve: images [B,H,W,C] with `top` and `left` rows and columns of zeros before each, their outputs [B,OH,OW,O], and the
 * size and strides of the filter.
 */
export function describe(
  ofImages: usize,
  ofBatch: i32,
  ofHeight: i32,
  ofWidth: i32,
  ofChannels: i32,
  ofTop: i32,
  ofLeft: i32,
  ofResults: usize,
  ofOutHeight: i32,
  ofOutWidth: i32,
  ofOutputs: i32,
  ofFilterHeight: i32,
  ofFilterWidth: i32,
  ofStrideY: i32,
  ofStrideX: i32,
): void {
  images = ofImages;
  batch = ofBatch;
  height = ofHeight;
  width = ofWidth;
  channels = ofChannels;
  top = ofTop;
  left = ofLeft;
  results = ofResults;
  outHeight = ofOutHeight;
  outWidth = ofOutWidth;
  outputs = ofOutputs;
  filterHeight = ofFilterHeight;
  filterWidth = ofFilterWidth;
  strideY = ofStrideY;
  strideX = ofStrideX;
}

/** The first line of the cache that begins at a pointer or behind it. */
export function aligned(pointer: usize): usize {
  return (pointer + LINE_BYTES - 1) & ~(LINE_BYTES - 1);
}
