/** Bodies that are forms. */
import { expectMediaType, readBody, Refusal } from './http.ts';

/** Every part begins with a line that begins with two dashes; the bytes of weights may look like some more. */
const DASHED_LINES_MAX = 256;

/** How many lines begin with two dashes. A parser makes an object of every part, so that tiny ones would take many times their bytes. */
function dashedLines(body: Uint8Array): number {
  const [newline, dash] = [0x0a, 0x2d];
  let count = 0;
  for (let at = body.indexOf(newline); at !== -1; at = body.indexOf(newline, at + 1)) {
    if (body[at + 1] === dash && body[at + 2] === dash) count += 1;
  }
  return count;
}

/** Reads a form of the media type `type` and at most `limitBytes`; `partsMax` is what a message says of a form with far too many parts. */
export async function readForm(
  request: Request,
  type: 'multipart/form-data' | 'application/x-www-form-urlencoded',
  limitBytes: number,
  partsMax: number,
): Promise<FormData> {
  expectMediaType(request, [type]);
  const body = await readBody(request, limitBytes);
  if (dashedLines(body) > DASHED_LINES_MAX) {
    throw new Refusal(422, 'invalid_request', `body: expected at most ${partsMax} parts, got more`);
  }
  const headers = { 'content-type': request.headers.get('content-type')! };
  const form = await new Response(body, { headers }).formData().catch(() => undefined);
  if (!form) throw new Refusal(400, 'invalid_body', `body: expected ${type}`);
  return form;
}
