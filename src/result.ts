/** An expected outcome: the value, or one sentence that says what was wrong with the input. Programmer errors throw instead. */
export type Result<T> = { ok: true; value: T } | { ok: false; error: string };

/** The outcome of something that went as expected. */
export const success = <T>(value: T): Result<T> => ({ ok: true, value });
/** The outcome of a bad input; `error` is one sentence that names the file or field, what was expected and what came. */
export const failure = (error: string): { ok: false; error: string } => ({ ok: false, error });
