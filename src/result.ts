/** An expected outcome: the value, or one sentence that says what was wrong with the input. Programmer errors throw instead. */
export type Result<T> = { ok: true; value: T } | { ok: false; error: string };

export const success = <T>(value: T): Result<T> => ({ ok: true, value });
export const failure = (error: string): { ok: false; error: string } => ({ ok: false, error });
