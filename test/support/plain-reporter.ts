import type { Reporter, TestModule } from 'vitest/node';

/**
 * Ends the output with one line `N passed, N failed`, without colours. It is printed when the process exits, because the
 * coverage report comes after the last hook of a reporter. A file that cannot be run counts as one failure.
 */
export default class PlainReporter implements Reporter {
  private passed = 0;
  private failed = 0;

  onInit(): void {
    process.on('exit', () => console.log(`${this.passed} passed, ${this.failed} failed`));
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const brokenModules = modules.filter((module) => module.errors().length > 0);
    this.passed = tests.filter((test) => test.result().state === 'passed').length;
    this.failed = tests.filter((test) => test.result().state === 'failed').length;
    this.failed += brokenModules.length + unhandledErrors.length;
  }
}
