/** Progress on stderr: stage, label, step, elapsed time and expected rest; results go to stdout and never here. */

export type Report = (fraction: { step: number; steps: number }) => void;

export type Progress = {
  /** Runs one stage; `label` says what it is about, the stage reports its steps as it goes. */
  stage<T>(name: string, label: string, work: (report: Report) => Promise<T>): Promise<T>;
};

const EARLIEST_ESTIMATE = 0.05;

const clock = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${`${Math.floor(seconds % 60)}`.padStart(2, '0')}`;

/** Shows progress on a stream: one line that is rewritten on a terminal, a line every five seconds and one a stage elsewhere. */
export function showProgress(stream: NodeJS.WriteStream): Progress {
  const began = performance.now();
  const seconds = (since: number): number => (performance.now() - since) / 1000;
  return {
    async stage(name, label, work) {
      const start = performance.now();
      let shown = start;
      const show = (detail: string, final: boolean): void => {
        const line = `${clock(seconds(began)).padStart(5)}  ${name.padEnd(10)} ${label}${detail}`;
        if (stream.isTTY) stream.write(`\r\x1b[K${line}${final ? '\n' : ''}`);
        else stream.write(`${line}\n`);
      };
      if (stream.isTTY) show('', false);
      const value = await work(({ step, steps }) => {
        const quiet = stream.isTTY ? 0.1 : 5;
        if (seconds(shown) < quiet) return;
        shown = performance.now();
        const rest = (seconds(start) * (steps - step)) / step;
        // The first steps also start threads and say little about the others.
        const about = step >= EARLIEST_ESTIMATE * steps ? `, about ${clock(rest)} left` : '';
        show(`  step ${step}/${steps}${about}`, false);
      });
      show(`  done in ${seconds(start).toFixed(1)} s`, true);
      return value;
    },
  };
}
