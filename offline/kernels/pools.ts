/** The gradient of max pooling, four channels side by side; pointers are bytes into the imported memory. */

/**
 * The gradient `dx` [B,H,W,C] of max pooling's images x [B,H,W,C] from its outputs y [B,OH,OW,C] and their gradient dy: each output's goes to the first
 * maximum of its window, the first row of which lies `top` rows before the image.
 */
export function maxPoolGradient(
  dy: usize,
  x: usize,
  y: usize,
  dx: usize,
  batch: i32,
  height: i32,
  width: i32,
  channels: i32,
  outHeight: i32,
  outWidth: i32,
  top: i32,
  left: i32,
  strideDown: i32,
  strideAcross: i32,
  windowHeight: i32,
  windowWidth: i32,
): void {
  const pixel = (<usize>channels) << 2;
  const line = <usize>width * pixel;
  memory.fill(dx, 0, <usize>(batch * height) * line);
  for (let row = 0; row < batch * outHeight; row++) {
    const firstY = (row % outHeight) * strideDown - top;
    const image = <usize>((row / outHeight) * height) * line;
    const fromY = max(0, firstY);
    const high = min(height, firstY + windowHeight) - fromY;
    for (let column = 0; column < outWidth; column++) {
      const firstX = column * strideAcross - left;
      const fromX = max(0, firstX);
      const wide = min(width, firstX + windowWidth) - fromX;
      const window = image + <usize>fromY * line + <usize>fromX * pixel;
      let offset: usize = 0;
      for (; offset + 16 <= pixel; offset += 16, dy += 16, y += 16) {
        spreadFour(dy, y, x + window + offset, dx + window + offset, line, pixel, high, wide);
      }
      for (; offset < pixel; offset += 4, dy += 4, y += 4) {
        spreadOne(dy, y, x + window + offset, dx + window + offset, line, pixel, high, wide);
      }
    }
  }
}

/** Adds each of four gradients to the first of the window's pixels that is the maximum. */
function spreadFour(dy: usize, y: usize, x: usize, dx: usize, line: usize, pixel: usize, high: i32, wide: i32): void {
  const maxima = v128.load(y);
  let rest = v128.load(dy);
  for (let row = 0; row < high; row++) {
    for (let column = 0; column < wide; column++) {
      const at = <usize>row * line + <usize>column * pixel;
      const isMaximum = f32x4.eq(v128.load(x + at), maxima);
      v128.store(dx + at, f32x4.add(v128.load(dx + at), v128.and(rest, isMaximum)));
      rest = v128.andnot(rest, isMaximum);
    }
  }
}

function spreadOne(dy: usize, y: usize, x: usize, dx: usize, line: usize, pixel: usize, high: i32, wide: i32): void {
  const maximum = load<f32>(y);
  for (let row = 0; row < high; row++) {
    for (let column = 0; column < wide; column++) {
      const at = <usize>row * line + <usize>column * pixel;
      if (load<f32>(x + at) != maximum) continue;
      store<f32>(dx + at, load<f32>(dx + at) + load<f32>(dy));
      return;
    }
  }
}
