/** Thrown inside of the importer when a node or tensor cannot be imported; caught there, and told as a failure. */
export class Refusal extends Error {}

/** Ends the import of a node with one sentence. */
export function refuse(sentence: string): never {
  throw new Refusal(sentence);
}
