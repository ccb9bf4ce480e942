/** The API for people. */
import { docsPage, DOCS_STYLE } from '../src/api/docs-page.ts';
import { openApi } from '../src/api/open-api.ts';
import { encodeBase64, encodeText } from '../src/release/encoding.ts';
import type { Call } from './http.ts';

/** GET /docs: the policy lets the page load nothing but its own style. */
export async function docs(c: Call): Promise<Response> {
  const style = new Uint8Array(
    await crypto.subtle.digest('SHA-256', encodeText(DOCS_STYLE) as Uint8Array<ArrayBuffer>),
  );
  const policy = `default-src 'none'; style-src 'sha256-${encodeBase64(style)}'; base-uri 'none'; frame-ancestors 'none'`;
  return c.html(docsPage(openApi()), 200, { 'content-security-policy': policy });
}
