/** The live feed: hibernating WebSockets that hear of every alert while it happens. */
import type { LiveMessage } from '../../src/api/alerts.ts';

/** How many may listen at once. */
export const SOCKET_LIMIT = 32;
/** A socket ends after this time, so that a token that was taken back does not listen on; clients connect again. */
const LIFETIME_MS = 3_600_000;
/** What browsers have to offer beside the token; the answer names it. */
export const LIVE_PROTOCOL = 'trigger-guard';

const GOING_AWAY = 1001;
const POLICY_VIOLATION = 1008;

/** Takes a WebSocket, or answers 503 when there are enough. A client may send `ping` and hears `pong`. */
export function acceptSocket(ctx: DurableObjectState, request: Request): Response {
  if (ctx.getWebSockets().length >= SOCKET_LIMIT) return new Response(null, { status: 503 });
  const { 0: client, 1: server } = new WebSocketPair();
  ctx.acceptWebSocket(server);
  ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair('ping', 'pong'));
  server.serializeAttachment(Date.now());
  const offered = (request.headers.get('sec-websocket-protocol') ?? '').split(',').map((name) => name.trim());
  const headers = new Headers(offered.includes(LIVE_PROTOCOL) ? { 'sec-websocket-protocol': LIVE_PROTOCOL } : {});
  return new Response(null, { status: 101, webSocket: client, headers });
}

/** Tells everybody who listens. */
export function broadcast(ctx: DurableObjectState, message: LiveMessage): void {
  const sockets = ctx.getWebSockets();
  if (sockets.length === 0) return;
  const text = JSON.stringify(message);
  for (const socket of sockets) {
    try {
      socket.send(text);
    } catch {
      // It is closing; the runtime forgets it.
    }
  }
}

/** Closes the sockets that have lived long enough. */
export function closeOldSockets(ctx: DurableObjectState, nowMs: number): void {
  for (const socket of ctx.getWebSockets()) {
    if (nowMs - (socket.deserializeAttachment() as number) >= LIFETIME_MS) socket.close(GOING_AWAY, 'connect again');
  }
}

/** When the next socket has lived long enough. */
export function nextSocketEndMs(ctx: DurableObjectState): number | undefined {
  const opened = ctx.getWebSockets().map((socket) => socket.deserializeAttachment() as number);
  return opened.length ? Math.min(...opened) + LIFETIME_MS : undefined;
}

/** The feed goes one way: who sends anything but `ping` is cut off. */
export const refuseMessage = (socket: WebSocket): void => socket.close(POLICY_VIOLATION, 'expected nothing but ping');
