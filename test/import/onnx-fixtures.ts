/** The ONNX files of test/models that are imported, and what they end with. */
import path from 'node:path';
import { completeDraft, type GivenInput, type ImportedModel } from '../../offline/import/imported.ts';
import { readOnnx } from '../../offline/import/onnx/onnx.ts';

export type Fixture = {
  name: string;
  /** Logits, or what is known of them behind a softmax or its logarithm. */
  ending: 'logits' | 'softmax' | 'logSoftmax';
  /** What the file does not say about its input. */
  given: GivenInput;
};

export const fixtures: readonly Fixture[] = [
  { name: 'lenet', ending: 'logits', given: {} },
  { name: 'lenet-float-data', ending: 'logits', given: {} },
  { name: 'lenet-half', ending: 'logits', given: {} },
  { name: 'lenet-double', ending: 'logits', given: {} },
  { name: 'lenet-21', ending: 'logits', given: {} },
  { name: 'vgg-elu', ending: 'logits', given: {} },
  { name: 'resnet8', ending: 'logits', given: {} },
  { name: 'resnet8-mean', ending: 'logits', given: {} },
  { name: 'resnet8-constants', ending: 'logits', given: {} },
  { name: 'resnet18', ending: 'logits', given: {} },
  { name: 'resnet-plain-shortcuts', ending: 'logits', given: {} },
  { name: 'preact-resnet18', ending: 'logits', given: {} },
  { name: 'wide-resnet16', ending: 'logits', given: {} },
  { name: 'mobilenetv2', ending: 'logits', given: {} },
  { name: 'mobilenetv2-clip-attributes', ending: 'logits', given: {} },
  { name: 'mobilenetv2-18', ending: 'logits', given: {} },
  { name: 'densenet', ending: 'logits', given: {} },
  { name: 'densenet-21', ending: 'logits', given: {} },
  { name: 'shufflenet', ending: 'logSoftmax', given: {} },
  { name: 'shufflenet-fixed', ending: 'logSoftmax', given: {} },
  { name: 'shufflenetv2', ending: 'logits', given: {} },
  { name: 'shufflenetv2-11', ending: 'logits', given: {} },
  { name: 'activations', ending: 'softmax', given: {} },
  { name: 'activations-9', ending: 'softmax', given: {} },
  { name: 'windows', ending: 'logits', given: {} },
  { name: 'windows-16', ending: 'logits', given: {} },
  { name: 'normalised', ending: 'softmax', given: {} },
  { name: 'normalised-17', ending: 'softmax', given: {} },
  { name: 'dynamo-resnet8', ending: 'logits', given: {} },
  { name: 'dynamo-mobilenetv2', ending: 'logits', given: {} },
  { name: 'dynamo-vgg-elu', ending: 'logits', given: {} },
  { name: 'dynamo-shufflenetv2', ending: 'logits', given: {} },
  { name: 'dynamo-activations', ending: 'softmax', given: {} },
  { name: 'tf2onnx-lenet', ending: 'softmax', given: {} },
  { name: 'tf2onnx-resnet', ending: 'logits', given: {} },
  { name: 'tf2onnx-resnet-18', ending: 'logits', given: {} },
  { name: 'tf2onnx-mobile', ending: 'softmax', given: {} },
  { name: 'keras-lenet', ending: 'softmax', given: {} },
  { name: 'keras-vgg-elu', ending: 'softmax', given: { scale: 255 } },
  { name: 'keras-grouped', ending: 'logits', given: {} },
];

/** The path of a file of test/models/onnx. */
export const onnxFile = (name: string): string => path.join(import.meta.dirname, '../models/onnx', `${name}.onnx`);

/** Imports a file of test/models/onnx; throws what is wrong with it. */
export async function importFixture(name: string, given: GivenInput = {}): Promise<ImportedModel> {
  const draft = await readOnnx(onnxFile(name), given);
  if (!draft.ok) throw new Error(draft.error);
  const model = completeDraft(draft.value, given);
  if (!model.ok) throw new Error(model.error);
  return model.value;
}
