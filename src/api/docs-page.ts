/** The OpenAPI document as one page for people: no script, no other host, light or dark as the reader's system is. */
import type { openApi } from './open-api.ts';

type Schema = {
  type?: string | string[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  prefixItems?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  description?: string;
};
type Content = Record<string, { schema: Schema }>;
type Operation = {
  operationId: string;
  summary: string;
  tags: string[];
  parameters: { name: string; in: string; schema: Schema }[];
  security?: { bearer: string[] }[];
  requestBody?: { content: Content };
  responses: Record<
    string,
    { description: string; headers?: Record<string, { description: string }>; content: Content }
  >;
};

const escapeHtml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** A JSON schema in the notation of TypeScript. */
function typeText(schema: Schema, indent = ''): string {
  const { type, properties, items, prefixItems, required = [] } = schema;
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return [...new Set(options.map((option) => typeText(option, indent)))].join(' | ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (prefixItems) return `[${prefixItems.map((item) => typeText(item, indent)).join(', ')}]`;
  if (type === 'array') {
    const element = typeText(items ?? {}, indent);
    return element.includes(' | ') ? `(${element})[]` : `${element}[]`;
  }
  if (properties) {
    const inner = `${indent}  `;
    const lines = Object.entries(properties).map(([name, property]) => {
      const note = property.description === undefined ? '' : `  // ${property.description}`;
      return `${inner}${name}${required.includes(name) ? '' : '?'}: ${typeText(property, inner)}${note}`;
    });
    return `{\n${lines.join('\n')}\n${indent}}`;
  }
  return type === undefined ? 'any' : [type].flat().join(' | ');
}

function contentHtml(content: Content): string {
  const parts = Object.entries(content).map(([type, { schema }]) => {
    const text = typeText(schema);
    const isPlain = text === 'any' || text === 'string';
    return `<p><code>${escapeHtml(type)}</code></p>${isPlain ? '' : `<pre>${escapeHtml(text)}</pre>`}`;
  });
  return parts.join('');
}

function operationHtml(path: string, method: string, operation: Operation): string {
  const roles = operation.security?.flatMap(({ bearer }) => bearer).join(' or ');
  const rows = operation.parameters.map(
    ({ name, in: place, schema }) =>
      `<tr><td><code>${escapeHtml(name)}</code><td>${place}<td><code>${escapeHtml(typeText(schema))}</code>`,
  );
  const [[status, done], ...refusals] = Object.entries(operation.responses) as [
    [string, Operation['responses'][string]],
    ...[string, Operation['responses'][string]][],
  ];
  const headers = Object.entries(done.headers ?? {}).map(
    ([name, { description }]) => `<li><code>${name}</code>: ${escapeHtml(description)}`,
  );
  const errors = refusals.length
    ? `<h4>Refused with ${refusals.map(([code]) => code).join(', ')}</h4>${contentHtml(refusals[0]![1].content)}`
    : '';
  return `<details id="${operation.operationId}"><summary><b class="${method}">${method.toUpperCase()}</b>
<code>${escapeHtml(path)}</code> <span>${escapeHtml(operation.summary)}</span></summary>
<p>${roles === undefined ? 'Open to everybody.' : `Needs a token of the role ${roles}.`}</p>
${rows.length ? `<h4>Parameters</h4><table>${rows.join('')}</table>` : ''}
${operation.requestBody ? `<h4>Request</h4>${contentHtml(operation.requestBody.content)}` : ''}
<h4>Answer ${status}</h4>${headers.length ? `<ul>${headers.join('')}</ul>` : ''}${contentHtml(done.content)}
${errors}</details>`;
}

/** The whole style of the page, which its content security policy names by hash. */
export const DOCS_STYLE = `
:root{color-scheme:light dark;--line:light-dark(#d9dee5,#39424e);--soft:light-dark(#f5f7f9,#1b2129);--text:light-dark(#1c2430,#e4e8ee);
--dim:light-dark(#566173,#9aa7b8);--get:light-dark(#0b6bcb,#6cb6ff);--post:light-dark(#1a7f37,#56d364);--put:light-dark(#9a5b00,#e3b341);
--delete:light-dark(#b42318,#ff7b72)}
*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:2rem 1rem 4rem;font:16px/1.5 system-ui,sans-serif;color:var(--text);
background:light-dark(#fff,#12171d)}h1{margin:0}h2{margin:2.5rem 0 .75rem;font-size:1.2rem}h4{margin:1rem 0 .25rem;font-size:.95rem}
p,ul{margin:.35rem 0}header p,summary span{color:var(--dim)}a{color:var(--get)}nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin-top:1rem}
details{border:1px solid var(--line);border-radius:8px;margin:.4rem 0;padding:0 1rem}details[open]{padding-bottom:1rem}
summary{cursor:pointer;padding:.6rem 0;overflow-wrap:anywhere}summary b{display:inline-block;min-width:4.2rem;font-size:.85rem}
.get{color:var(--get)}.post{color:var(--post)}.put{color:var(--put)}.delete{color:var(--delete)}
code,pre{font:.875rem/1.5 ui-monospace,monospace}pre{background:var(--soft);border-radius:6px;padding:.75rem;overflow-x:auto;margin:.25rem 0}
table{border-collapse:collapse}td{border-bottom:1px solid var(--line);padding:.25rem 1rem .25rem 0;vertical-align:top;overflow-wrap:anywhere}
`;

/** The page of the API, made of its OpenAPI document: one section a subject, one entry an operation. */
export function docsPage(document: ReturnType<typeof openApi>): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation: operation as Operation })),
  );
  const sections = document.tags.map(({ name }, index) => {
    const entries = operations.filter(({ operation }) => operation.tags.includes(name));
    const html = entries.map(({ path, method, operation }) => operationHtml(path, method, operation));
    return `<section><h2 id="subject-${index}">${escapeHtml(name)}</h2>${html.join('\n')}</section>`;
  });
  const links = document.tags.map(({ name }, index) => `<a href="#subject-${index}">${escapeHtml(name)}</a>`);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escapeHtml(document.info.title)}: the API</title><style>${DOCS_STYLE}</style></head>
<body><header><h1>${escapeHtml(document.info.title)}</h1><p>${escapeHtml(document.info.description)}
For programs: <a href="/openapi.json">openapi.json</a>.</p><nav aria-label="Subjects">${links.join('\n')}</nav></header>
<main>${sections.join('\n')}</main></body></html>
`;
}
