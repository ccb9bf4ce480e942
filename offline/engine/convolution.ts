import { backend_util } from '@tensorflow/tfjs-core';

export type Conv2DInfo = backend_util.Conv2DInfo;
export type Shape4D = [number, number, number, number];
/** What tfjs says of a convolution, beside its tensors. */
export type ConvolutionAttributes = {
  strides: [number, number] | number;
  pad: 'same' | 'valid' | number | backend_util.ExplicitPadding;
  dataFormat?: 'NHWC' | 'NCHW';
  dilations?: [number, number] | number;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
};

/** The sizes of a convolution of images [B,H,W,C] with a filter [kh,kw,C,O], or [kh,kw,C,M] if it is depthwise; throws for images [B,C,H,W]. */
export function convolutionInfo(
  images: Shape4D,
  filter: Shape4D,
  attributes: ConvolutionAttributes,
  depthwise: boolean,
): Conv2DInfo {
  const { strides, pad, dataFormat, dilations, dimRoundingMode } = attributes;
  if (dataFormat === 'NCHW') throw new Error('convolution: only NHWC is supported');
  return backend_util.computeConv2DInfo(images, filter, strides, dilations ?? 1, pad, dimRoundingMode, depthwise);
}
