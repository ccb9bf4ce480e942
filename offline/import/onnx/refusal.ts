/** Thrown inside of the importer when a node or tensor cannot be imported; caught there, and told as a failure. */
export class Refusal extends Error {}

/** Many names fit in it, but not whatever a file calls names. */
const MOST_CHARACTERS = 4000;

/** Ends the import of a node with one sentence. Names in it come from the file: what could steer a terminal is replaced. */
export function refuse(sentence: string): never {
  throw new Refusal(sentence.slice(0, MOST_CHARACTERS).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?'));
}
