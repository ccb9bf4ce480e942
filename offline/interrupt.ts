/** Ctrl-C: the process ends with exit code 130, but not before what is being written is whole and what was started is stopped. */

type Ending = () => unknown;

const endings = new Set<Ending>();

/** Ends the process on the first interrupt once all endings have run; a second interrupt ends it at once. */
export function endOnInterrupt(exitCode: number): void {
  process.once('SIGINT', () => {
    const all = [...endings].map(async (ending) => ending());
    void Promise.allSettled(all).then(() => process.exit(exitCode));
  });
}

/** Registers what must happen before an interrupt may end the process; call the answer when it need not happen any more. */
export function beforeInterrupt(ending: Ending): () => void {
  endings.add(ending);
  return () => endings.delete(ending);
}

/** Does work that an interrupt must not cut short, such as writing a directory. */
export async function uninterrupted<T>(work: () => Promise<T>): Promise<T> {
  const running = work();
  const release = beforeInterrupt(() => running);
  try {
    return await running;
  } finally {
    release();
  }
}
