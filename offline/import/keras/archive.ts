/**
 * The zip archive that a `.keras` file is (PKWARE's APPNOTE, without zip64, which an archive within our limit does not need):
 * members read within their declared sizes, and one replaced.
 */
import { crc32 } from 'node:zlib';
import { inflateSync, zipSync } from 'fflate';
import { failure, success, type Result } from '../../../src/result.ts';
import { MODEL_LIMIT_BYTES } from '../imported.ts';

/** One member: its content lies in the archive from `start` on, `compressedSize` bytes of it; `entry` is where the directory names it. */
type Member = {
  method: number;
  /** The CRC-32 and sizes follow the content, where the header leaves them open. */
  trailing: boolean;
  crc: number;
  compressedSize: number;
  size: number;
  start: number;
  header: number;
  entry: number;
};

export type Archive = { bytes: Uint8Array; members: ReadonlyMap<string, Member> };

const STORED = 0;
const DEFLATED = 8;
const MAX_MEMBERS = 1000;

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Whether bytes begin as a zip archive does. */
export const isZip = (bytes: Uint8Array): boolean =>
  bytes.length >= 22 && viewOf(bytes).getUint32(0, true) === 0x04034b50;

/** Lists the members of an archive; fails where its directory is damaged or a member lies outside. */
export function openArchive(bytes: Uint8Array): Result<Archive> {
  const view = viewOf(bytes);
  const damaged = failure('expected a zip archive, got one that is damaged');
  let end = bytes.length - 22;
  while (end >= 0 && end > bytes.length - 22 - 65_536 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) return damaged;
  const count = view.getUint16(end + 10, true);
  if (count > MAX_MEMBERS) return failure(`expected a zip archive of at most ${MAX_MEMBERS} files, got ${count}`);
  const members = new Map<string, Member>();
  let entry = view.getUint32(end + 16, true);
  for (let index = 0; index < count; index++) {
    if (entry + 46 > end || view.getUint32(entry, true) !== 0x02014b50) return damaged;
    const nameLength = view.getUint16(entry + 28, true);
    const next = entry + 46 + nameLength + view.getUint16(entry + 30, true) + view.getUint16(entry + 32, true);
    if (next > end) return damaged;
    const name = new TextDecoder().decode(bytes.subarray(entry + 46, entry + 46 + nameLength));
    const header = view.getUint32(entry + 42, true);
    if (header + 30 > end || view.getUint32(header, true) !== 0x04034b50) return damaged;
    const member: Member = {
      method: view.getUint16(entry + 10, true),
      trailing: (view.getUint16(header + 6, true) & 8) !== 0,
      crc: view.getUint32(entry + 16, true),
      compressedSize: view.getUint32(entry + 20, true),
      size: view.getUint32(entry + 24, true),
      start: header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true),
      header,
      entry,
    };
    if (member.start + member.compressedSize > end || members.has(name)) return damaged;
    members.set(name, member);
    entry = next;
  }
  return success({ bytes, members });
}

/** The content of a member of at most `limitBytes`, a copy; fails where it is missing, too large or damaged. */
export function readMember({ bytes, members }: Archive, name: string, limitBytes: number): Result<Uint8Array> {
  const member = members.get(name);
  if (!member) return failure(`expected a file "${name}" in the archive, got none`);
  const { method, compressedSize, size, start, crc } = member;
  if (size > limitBytes) return failure(`"${name}" in the archive: expected at most ${limitBytes} bytes, got ${size}`);
  const raw = bytes.subarray(start, start + compressedSize);
  const content = method === STORED ? raw.slice() : method === DEFLATED ? inflate(raw, size) : null;
  if (content?.length !== size || crc32(content) !== crc) {
    return failure(`"${name}" in the archive: expected ${size} bytes stored or deflated, got what is damaged`);
  }
  return success(content);
}

/** Inflates into a buffer of the declared size, which never grows; null where that fails. */
function inflate(raw: Uint8Array, size: number): Uint8Array | null {
  try {
    return inflateSync(raw, { out: new Uint8Array(size) });
  } catch {
    return null;
  }
}

/**
 * The archive with other content, of the same size, for one member. A stored member is overwritten where it lies, with its CRC-32
 * in header and directory, and every other byte is kept; where it is compressed, the archive is packed anew from the content of all
 * its members.
 */
export function replaceMember(archive: Archive, name: string, content: Uint8Array): Result<Uint8Array> {
  const member = archive.members.get(name);
  if (member?.size !== content.length)
    throw new Error(`archive: expected a member "${name}" of ${content.length} bytes`);
  if (member.method === STORED && !member.trailing) {
    const bytes = archive.bytes.slice();
    bytes.set(content, member.start);
    viewOf(bytes).setUint32(member.header + 14, crc32(content), true);
    viewOf(bytes).setUint32(member.entry + 16, crc32(content), true);
    return success(bytes);
  }
  const files = new Map<string, Uint8Array>();
  let total = 0;
  for (const [other, { size }] of archive.members) {
    total += size;
    if (total > MODEL_LIMIT_BYTES)
      return failure(`expected at most ${MODEL_LIMIT_BYTES} bytes in the archive, got more`);
    const read = other === name ? success(content) : readMember(archive, other, size);
    if (!read.ok) return read;
    files.set(other, read.value);
  }
  return success(zipSync(Object.fromEntries(files)));
}
