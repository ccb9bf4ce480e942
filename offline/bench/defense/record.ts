/** What the bench writes about one cell: everything that was measured, and all that a rerun needs. */
import { join } from 'node:path';
import * as z from 'zod';
import { decodeJson, encodeText } from '../../../src/release/encoding.ts';
import { failure, success, type Result } from '../../../src/result.ts';
import { cardSchema } from '../../attack/victim.ts';
import { readWithin, writeNewFile } from '../../directory.ts';
import { cellSchema, subjectName, type Cell } from './grid.ts';

const rate = z.number().min(0).max(1);
const seconds = z.number().min(0);
const digest = z.string().regex(/^[0-9a-f]{64}$/);

/** On images that neither the victim nor the defender has seen; null without an attack. */
export const ratesSchema = z.object({
  cleanAccuracy: rate,
  attackSuccessRate: rate.nullable(),
  /** Triggered images that are given their true label. */
  robustAccuracy: rate.nullable(),
  /** The largest share of triggered images that any label gets beside its own. */
  highestHitRate: rate.nullable(),
  highestHitLabel: z.int().min(0).nullable(),
  /** The smallest over the attacker's labels. */
  targetRecall: rate.nullable(),
});
export type Rates = z.infer<typeof ratesSchema>;

const surroundings = {
  schemaVersion: z.literal(1),
  cell: cellSchema,
  tool: z.object({ name: z.string(), node: z.string(), engine: z.string(), device: z.string(), threads: z.int() }),
  createdAt: z.iso.datetime(),
  victim: z.object({ digest, card: cardSchema }),
  cleanDigest: digest,
  evaluationDigest: digest,
  /** What the scan found and what its grades went by; null for methods that do not scan. */
  findings: z
    .array(
      z.object({
        targetLabel: z.int().min(0),
        grade: z.enum(['backdoor', 'natural shortcut']),
        conviction: z.number(),
        resemblance: z.number(),
        transfer: z.number().nullable(),
        anomalyIndex: z.number(),
        /** Records of before have neither. */
        faintness: z.number().optional(),
        smoothFaintness: z.number().optional(),
        warpFaintness: z.number().optional(),
        advantage: z.number().nullable().optional(),
        noiseHitRate: rate.nullable().optional(),
      }),
    )
    .nullable(),
  /** What recovering took, once for all methods of a victim that need it. */
  recoverySeconds: seconds.nullable(),
};

export const recordSchema = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('defense'),
    ...surroundings,
    before: ratesSchema,
    after: ratesSchema,
    /** Defence effectiveness, (max(0, fall of attack success) - max(0, fall of accuracy) + 1) / 2; null without an attack. */
    der: rate.nullable(),
    seconds,
  }),
  z.object({
    kind: z.literal('detector'),
    ...surroundings,
    auroc: rate,
    /** Triggered images above all but this share of the clean ones. */
    truePositives: z.array(z.object({ falsePositiveRate: rate, rate })),
    /** What the detector's own threshold promised, and what it did. */
    promised: z
      .object({
        falsePositiveRate: rate,
        falsePositiveBound: rate,
        measuredFalsePositiveRate: rate,
        truePositiveRate: rate,
      })
      .nullable(),
    forwardPasses: z.number().min(0),
    /** Fitting, and scoring all images. */
    seconds,
    scoredImages: z.int().min(1),
  }),
]);
export type BenchRecord = z.infer<typeof recordSchema>;

const LIMIT_BYTES = 2 ** 20;

const fileOf = (directory: string, cell: Cell): string =>
  join(directory, 'records', `${subjectName(cell)}_${cell.method}.json`);

/** The record of a cell, or undefined where there is none yet; fails, naming the file, on what is no record of this very cell. */
export async function loadRecord(directory: string, cell: Cell): Promise<Result<BenchRecord | undefined>> {
  const file = fileOf(directory, cell);
  const bytes = await readWithin(file, LIMIT_BYTES);
  if (!bytes.ok) return bytes.error === `${file}: no such file` ? success(undefined) : bytes;
  const json = decodeJson(bytes.value);
  if (!json.ok) return failure(`${file}: ${json.error}`);
  const record = recordSchema.safeParse(json.value);
  if (!record.success) {
    const { path, message } = record.error.issues[0]!;
    return failure(`${file}: ${path.join('.') || 'record'}: ${message}; remove it to measure anew`);
  }
  const [found, expected] = [record.data.cell, cellSchema.parse(cell)].map((value) => JSON.stringify(value));
  return found === expected
    ? success(record.data)
    : failure(`${file}: cell: expected ${expected}, got ${found}; take another --out for another grid`);
}

/** Writes a record whole or not at all; refuses to replace one. */
export function saveRecord(directory: string, record: BenchRecord): Promise<Result<null>> {
  return writeNewFile(fileOf(directory, record.cell), encodeText(`${JSON.stringify(record, null, 2)}\n`));
}
