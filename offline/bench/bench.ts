/** `npm run bench -- NAME`: measures what the project promises about time and memory, on this machine. */
import { benchImport } from './import.ts';

const benches: Readonly<Record<string, () => Promise<void>>> = { import: benchImport };

const bench = benches[process.argv[2] ?? ''];
if (bench) await bench();
else {
  process.stderr.write(`error: expected the name of a bench: ${Object.keys(benches).join(', ')}\n`);
  process.exitCode = 2;
}
