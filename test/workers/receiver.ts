/** A real HTTP server that sinks are pointed at: it keeps what it is sent, and answers as it is told to. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Received = { path: string; headers: IncomingHttpHeaders; body: string; status: number };
export type Receiver = {
  url: string;
  received: Received[];
  /** What it answers from now on; `hang` never answers. */
  answer: number | 'hang';
  /** What it took: the requests that it answered with 2xx. */
  taken(): Received[];
  /** Ends every connection, those that hang too. */
  hangUp(): void;
  close(): Promise<void>;
};

/** Starts a receiver on this machine, at any free port or the one given. */
export async function startReceiver(port = 0): Promise<Receiver> {
  const server = createServer((request, response) => void receive(request, response));
  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const status = receiver.answer === 'hang' ? 0 : receiver.answer;
    const body = Buffer.concat(chunks).toString();
    receiver.received.push({ path: request.url!, headers: request.headers, body, status });
    if (status) response.writeHead(status).end('ok');
  };
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: [],
    answer: 200,
    taken: () => receiver.received.filter(({ status }) => status >= 200 && status < 300),
    hangUp: () => server.closeAllConnections(),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return receiver;
}

/** Waits until something holds, looking often; fails after thirty seconds, ten more than an alarm that was lost may take. */
export async function until(holds: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<void> {
  const endMs = Date.now() + limitMs;
  while (!(await holds())) {
    if (Date.now() > endMs) throw new Error(`expected within ${limitMs} ms: ${holds.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
