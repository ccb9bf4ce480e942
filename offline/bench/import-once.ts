/** Imports the ONNX file that is named on the command line, and prints what it took as JSON; started by import.ts. */
import { readFile } from 'node:fs/promises';
import { completeDraft } from '../import/imported.ts';
import { readOnnx } from '../import/onnx/onnx.ts';

const draft = await readOnnx(process.argv[2]!, {});
if (!draft.ok) throw new Error(draft.error);
const model = completeDraft(draft.value, {});
if (!model.ok) throw new Error(model.error);
const cost = {
  // Counted from the start of the process.
  seconds: performance.now() / 1000,
  peakBytes: await peakBytes(),
  layers: model.value.network.layers.length,
};
process.stdout.write(JSON.stringify(cost));

/** The most memory that this process held; on Linux maxRSS would count what the process that started it held, too. */
async function peakBytes(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8').catch(() => '');
  const kibibytes = /^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1] ?? process.resourceUsage().maxRSS;
  return Number(kibibytes) * 1024;
}
