/** Imports the ONNX file that is named on the command line, and prints what it took as JSON; started by import.ts. */
import { completeDraft } from '../import/imported.ts';
import { readOnnx } from '../import/onnx/onnx.ts';

const draft = await readOnnx(process.argv[2]!, {});
if (!draft.ok) throw new Error(draft.error);
const model = completeDraft(draft.value, {});
if (!model.ok) throw new Error(model.error);
const cost = {
  // Counted from the start of the process.
  seconds: performance.now() / 1000,
  peakBytes: process.resourceUsage().maxRSS * 1024,
  layers: model.value.network.layers.length,
};
process.stdout.write(JSON.stringify(cost));
