/** A script: prints, as one line of JSON, the graphics adapter that Dawn finds (`AdapterReport`). */
import type { AdapterReport } from './webgpu.ts';

async function probe(): Promise<AdapterReport> {
  const webgpu = await import('webgpu').catch(() => undefined);
  if (!webgpu) return { found: 'no package' };
  Object.assign(globalThis, webgpu.globals);
  const adapter = await webgpu.create([]).requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) return { found: 'no adapter' };
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  const name = [vendor, architecture, description || device].filter((part) => part !== '').join(' ');
  const software = isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|software/i.test(name);
  return { found: 'adapter', name, software };
}

process.stdout.write(`${JSON.stringify(await probe())}\n`, () => process.exit(0));
