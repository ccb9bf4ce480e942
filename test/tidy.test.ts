/** What a reviewer would otherwise have to look for in every change: boundaries, names, sizes, documentation, secrets. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const maxLines = 300;
const maxTextBytes = 1024 * 1024;

type Source = { file: string; text: string };

// Tracked files, and new ones that git does not ignore.
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .split('\n')
  .filter((file) => file && existsSync(path.join(root, file)));
const sources = read((file) => /\.(ts|tsx|js|mjs)$/.test(file));
const texts = read(
  (file) => file !== 'package-lock.json' && /\.(ts|js|mjs|json|md|toml|yml|html|css|sh)$|^\.ci\//.test(file),
);

function read(wanted: (file: string) => boolean): Source[] {
  const chosen = files.filter((file) => wanted(file) && statSync(path.join(root, file)).size <= maxTextBytes);
  return chosen.map((file) => ({ file, text: readFileSync(path.join(root, file), 'utf8') }));
}

const under = (folder: string): Source[] => sources.filter(({ file }) => file.startsWith(`${folder}/`));

/** Every module that a file names in an import, an export or a dynamic import; relative ones as paths from the root. */
function importedModules({ file, text }: Source): string[] {
  const pattern = /^(?:import\b[^'"`;(]*|export\s[^'"`;=]*?\bfrom\s*)['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;
  return [...text.matchAll(pattern)].map(([, fixed, dynamic]) => {
    const module = (fixed ?? dynamic)!;
    return module.startsWith('.') ? path.posix.join(path.posix.dirname(file), module) : module;
  });
}

function importsOutside(folder: string, allowed: (module: string) => boolean): string[] {
  return under(folder).flatMap((source) =>
    importedModules(source)
      .filter((module) => !allowed(module))
      .map((module) => `${source.file} imports ${module}`),
  );
}

function matches(within: Source[], pattern: RegExp): string[] {
  return within.flatMap(({ file, text }) =>
    text.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe('boundaries', () => {
  test('the reader of imports sees every form', () => {
    const text = [
      `import { a } from 'one';`,
      `import type { b } from "./two.ts";`,
      `import 'three';`,
      `export * from '../four.ts';`,
      `import {\n  c,\n  d,\n} from 'five';`,
      `const six = await import('six');`,
    ].join('\n');
    const modules = importedModules({ file: 'src/x/y.ts', text });
    expect(modules).toEqual(['one', 'src/x/two.ts', 'three', 'src/four.ts', 'five', 'six']);
  });

  test('src/ imports only zod, tfjs-core, the image codecs and its own files', () => {
    const packages = new Set(['zod', '@tensorflow/tfjs-core', 'fast-png', 'fflate', 'jpeg-js']);
    const outside = importsOutside('src', (module) => packages.has(module) || module.startsWith('src/'));
    expect(outside).toEqual([]);
  });

  test('src/ uses no clock, no randomness and no platform', () => {
    const impure = /\b(Date\.now|new Date\(\)|Math\.random|performance\.now|process\.|Buffer\.|globalThis\.|fetch\()/;
    expect(matches(under('src'), impure)).toEqual([]);
  });

  test('offline/ never imports workers/ or test/', () => {
    expect(importsOutside('offline', (module) => !/^(workers|test)\//.test(module))).toEqual([]);
  });

  test('workers/ never imports offline/, test/ or a module of Node', () => {
    expect(importsOutside('workers', (module) => !/^(offline|test)\/|^node:/.test(module))).toEqual([]);
  });
});

describe('files', () => {
  test('none is called by what it is instead of what it is about', () => {
    const vague = /(^|\/)(utils?|helpers?|common|types|misc)(\/|\.[a-z]+$)/;
    expect(files.filter((file) => vague.test(file))).toEqual([]);
  });

  test('none only re-exports others', () => {
    const barrels = sources.filter(({ text }) => {
      const code = text
        .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
        .replaceAll(/export[^;]*?from\s*['"][^'"]+['"];?/g, '');
      return /\bfrom\b/.test(text) && code.trim() === '';
    });
    expect(barrels.map(({ file }) => file)).toEqual([]);
  });

  test(`none is longer than ${maxLines} lines`, () => {
    const long = sources.map(({ file, text }) => ({ file, lines: text.trimEnd().split('\n').length }));
    expect(long.filter(({ lines }) => lines > maxLines)).toEqual([]);
  });

  test('none holds a private key', () => {
    expect(matches(texts, /-----BEGIN [A-Z ]*PRIVATE KEY-----(\s*$|\\n[A-Za-z0-9+/]{16})/)).toEqual([]);
  });

  test('none names a path of one machine', () => {
    expect(matches(texts, /(^|[\s'"`(=:])\/(home|Users|root|work|tmp|mnt)\/[\w.-]/)).toEqual([]);
  });

  test('none leaves work for later in a comment', () => {
    expect(matches(sources, /\b(TOD[O]|FIXM[E]|XX[X])\b/)).toEqual([]);
  });
});

describe('documentation', () => {
  // A function, or a constant that holds one; a zod schema or another value may speak for itself.
  const exported = /^export (async )?function\b|^export const \w+( *:[^=]+)? = (async )?(<[^>]*>)?\(.*(=>|\($|,$)/;

  const functionName = (line: string): string | undefined => /(?:function|const) (\w+)/.exec(line)?.[1];

  test('the search for exported functions finds functions only', () => {
    const functions = [
      'export function f() {',
      'export async function g() {',
      'export const h = (x: number): number => x;',
    ];
    expect(functions.every((line) => exported.test(line))).toBe(true);
    expect(
      ['export const s = z.object({', 'export const n = (1 + 2);', 'function f() {'].some((l) => exported.test(l)),
    ).toBe(false);
  });

  test('every exported function of src/ and offline/ has a sentence right above it', () => {
    const bare = [...under('src'), ...under('offline')].flatMap(({ file, text }) => {
      const lines = text.split('\n');
      return lines.flatMap((line, index) => {
        const above = lines[index - 1] ?? '';
        const overload = exported.test(above) && functionName(above) === functionName(line);
        const documented = /\*\/\s*$/.test(above) || overload;
        return exported.test(line) && !documented ? [`${file}:${index + 1}: ${line}`] : [];
      });
    });
    expect(bare).toEqual([]);
  });
});
