/** The alerts object: what happened, who takes care of it, and who has still to be told. Its one alarm does whatever is next. */
import { DurableObject } from 'cloudflare:workers';
import type { Alert } from '../../src/alert.ts';
import { parseSinks, type Notification, type Sink } from '../../src/alert/sink.ts';
import type { AlertsQuery, AlertView, LiveMessage, Silence, SilenceRequest, SinkView } from '../../src/api/alerts.ts';
import type { Env } from '../env.ts';
import { COUNTERS_SCHEMA, counters } from './counters.ts';
import { deleteOldImages, EVIDENCE_SCHEMA, imageCount, keepImage, nextExpiryMs, retentionMs } from './evidence.ts';
import { acceptSocket, broadcast, closeOldSockets, nextSocketEndMs, refuseMessage } from './live.ts';
import { drain, enqueue, forgetOtherSinks, nextAttemptMs, OUTBOX_SCHEMA, sinkViews } from './outbox.ts';
import {
  acknowledge,
  endSilence,
  listRecords,
  nextQuietMs,
  openCounts,
  quietRecords,
  record,
  recordOf,
  RECORDS_SCHEMA,
  resolve,
  silence,
  silences,
} from './records.ts';

/** How soon what failed in the alarm itself is tried again. */
const ALARM_RETRY_MS = 60_000;

export type AlertFigures = {
  counters: { name: string; value: number }[];
  open: { severity: string; count: number }[];
  sinks: SinkView[];
  sinksValid: boolean;
  images: number;
  sockets: number;
};

export class AlertsObject extends DurableObject<Env> {
  readonly #sql: SqlStorage;
  readonly #sinks: readonly Sink[];
  readonly #sinksValid: boolean;
  /** Sinks that are being told. */
  readonly #busy = new Set<string>();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(EVIDENCE_SCHEMA + RECORDS_SCHEMA + OUTBOX_SCHEMA + COUNTERS_SCHEMA);
    const sinks = parseSinks(env.ALERT_SINKS ?? '');
    if (!sinks.ok) console.error(JSON.stringify({ event: 'sinks_invalid', error: sinks.error }));
    this.#sinks = sinks.ok ? sinks.value : [];
    this.#sinksValid = sinks.ok;
    if (sinks.ok) forgetOtherSinks(this.#sql, this.#sinks);
    // What waited when the object ended must not wait for the next alert. An alarm that is set may be the one that wakes the object: it stays.
    void ctx.blockConcurrencyWhile(async () => {
      if ((await ctx.storage.getAlarm()) === null) await this.#schedule();
    });
  }

  /** Stores alerts of this moment. Answers for each the id of the record that wants its image, or null. */
  async record(alerts: readonly Alert[]): Promise<(number | null)[]> {
    const nowMs = Date.now();
    const opened = alerts.map((alert) => this.#recordOne(alert, nowMs));
    if (opened.some((id) => id !== null)) await this.#tell();
    return opened.map((id, index) =>
      retentionMs(this.env) > 0 && alerts[index]!.kind === 'trigger-match' ? id : null,
    );
  }

  /** Answers the id of the record if it is a new one. */
  #recordOne(alert: Alert, nowMs: number): number | null {
    const recorded = record(this.#sql, alert, nowMs);
    if (!recorded) return null;
    const { view, opened } = recorded;
    // Of a flood of repeats the feed hears the 2nd, 4th, 8th...
    if (!opened && Number.isInteger(Math.log2(view.count))) broadcast(this.ctx, { event: 'repeated', alert: view });
    if (opened) this.#announce('opened', view, nowMs);
    return opened ? view.id : null;
  }

  /** Tells the live feed and queues for the sinks; a sink whose queue is full is an alert of its own. */
  #announce(event: Notification['event'] & LiveMessage['event'], alert: AlertView, nowMs: number): void {
    broadcast(this.ctx, { event, alert });
    if (alert.silenced) return;
    for (const sink of enqueue(this.#sql, this.#sinks, event, alert, nowMs)) {
      this.#recordOne({ kind: 'notifications-dropped', release: null, sink, dropped: 1 }, nowMs);
    }
  }

  /** Tells the sinks that are due, should an alarm have been lost. */
  async wake(): Promise<void> {
    await this.#tell();
  }

  list(query: AlertsQuery): AlertView[] {
    return listRecords(this.#sql, query);
  }

  get(id: number): AlertView | undefined {
    return recordOf(this.#sql, id);
  }

  /** The record after `actor` took care of it; undefined when there is none. */
  async acknowledge(id: number, actor: string): Promise<AlertView | undefined> {
    const nowMs = Date.now();
    if (!acknowledge(this.#sql, id, actor, nowMs)) return recordOf(this.#sql, id);
    this.#announce('acknowledged', recordOf(this.#sql, id)!, nowMs);
    await this.#tell();
    return recordOf(this.#sql, id);
  }

  /** The record after it was said to be over; undefined when there is none. */
  async resolve(id: number): Promise<AlertView | undefined> {
    const nowMs = Date.now();
    const view = recordOf(this.#sql, id);
    if (!view || !resolve(this.#sql, view, nowMs)) return view;
    this.#announce('resolved', recordOf(this.#sql, id)!, nowMs);
    await this.#tell();
    return recordOf(this.#sql, id);
  }

  silence(request: SilenceRequest, actor: string): Silence | undefined {
    return silence(this.#sql, request, actor, Date.now());
  }

  silences(): Silence[] {
    return silences(this.#sql, Date.now());
  }

  endSilence(id: number): boolean {
    return endSilence(this.#sql, id);
  }

  async keepImage(id: number, requestId: string, png: Uint8Array): Promise<void> {
    await keepImage(this.#sql, this.env, id, requestId, png);
    await deleteOldImages(this.#sql, this.env);
    await this.#schedule();
  }

  sinks(): SinkView[] {
    return sinkViews(this.#sql, this.#sinks);
  }

  figures(): AlertFigures {
    return {
      counters: counters(this.#sql),
      open: openCounts(this.#sql),
      sinks: this.sinks(),
      sinksValid: this.#sinksValid,
      images: imageCount(this.#sql),
      sockets: this.ctx.getWebSockets().length,
    };
  }

  override async fetch(request: Request): Promise<Response> {
    const response = acceptSocket(this.ctx, request);
    await this.#schedule();
    return response;
  }

  override webSocketMessage(socket: WebSocket): void {
    refuseMessage(socket);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    socket.close(code === 1005 ? 1000 : code);
  }

  /** Ends what was quiet for long enough, deletes old images and closes old sockets, and tells the sinks that are due. */
  override async alarm(): Promise<void> {
    try {
      const nowMs = Date.now();
      for (const view of quietRecords(this.#sql, nowMs)) {
        resolve(this.#sql, view, nowMs);
        this.#announce('resolved', recordOf(this.#sql, view.id)!, nowMs);
      }
      closeOldSockets(this.ctx, nowMs);
      await deleteOldImages(this.#sql, this.env);
    } catch (error) {
      console.error(JSON.stringify({ event: 'alarm_failed', error: String(error) }));
      await this.ctx.storage.setAlarm(Date.now() + ALARM_RETRY_MS);
      this.ctx.waitUntil(this.#deliver());
      return;
    }
    await this.#tell();
  }

  /** Begins to tell the sinks without anybody waiting for it: a slow one must not hold up the alarm either. */
  async #tell(): Promise<void> {
    this.ctx.waitUntil(this.#deliver().then(() => this.#schedule()));
    await this.#schedule();
  }

  /** Tells every sink that is not being told already, each by itself. */
  async #deliver(): Promise<void> {
    const idle = this.#sinks.filter(({ name }) => !this.#busy.has(name));
    await Promise.all(
      idle.map(async (sink) => {
        this.#busy.add(sink.name);
        try {
          await drain(this.#sql, sink);
        } finally {
          this.#busy.delete(sink.name);
        }
      }),
    );
  }

  /** Sets the alarm to whatever comes next. */
  async #schedule(): Promise<void> {
    const times = [
      nextAttemptMs(this.#sql, this.#sinks, this.#busy, Date.now()),
      nextQuietMs(this.#sql),
      nextExpiryMs(this.#sql),
      nextSocketEndMs(this.ctx),
    ].filter((timeMs) => timeMs !== undefined);
    if (times.length) await this.ctx.storage.setAlarm(Math.min(...times));
    else await this.ctx.storage.deleteAlarm();
  }
}
