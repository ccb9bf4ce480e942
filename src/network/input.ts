/** How a model file wants its images: recorded in a release, so that whoever runs the file itself knows what to feed it. */
import * as z from 'zod';

const values = z.array(z.number()).min(1).max(1024);

/**
 * The file's input is `(scale * images - mean) / std` for `images [B,H,W,C] in 0..1`, with its channels in the stated order (of
 * meaning for three channels only) and its axes in the stated layout. `mean` and `std` hold a number for each channel of the file.
 */
export const inputSchema = z.strictObject({
  layout: z.enum(['nhwc', 'nchw']),
  channels: z.enum(['rgb', 'bgr']),
  scale: z.number().positive(),
  mean: values,
  std: z.array(z.number().positive()).min(1).max(1024),
});

export type Input = z.infer<typeof inputSchema>;
