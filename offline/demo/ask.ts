/** The demo's questions over HTTP, and whether the answers are those that the release gives offline. */
import { toDevice } from '../../src/network/forward.ts';
import type { ReleaseContent } from '../../src/release/release.ts';
import { everyIndex } from '../batch.ts';
import { selectImages, type Dataset } from '../data/dataset.ts';
import { answerImages, guardedBy } from '../evaluate.ts';
import type { Report } from '../progress.ts';
import type { Edge } from './edge.ts';
import type { Example } from './example.ts';
import { classifyAll, latestAlerts, type Answer } from './http.ts';

const IMAGES = 300;
const ALERTS = 5;

/** `answeredTarget` counts images of other labels only. */
type Asked = { asked: number; flagged: number; answeredTarget: number };
export type HttpFigures = {
  clean: Asked;
  triggered: Asked;
  asked: number;
  /** Answers whose label or verdict differs from what the release says offline. */
  disagreeing: number;
  alerts: Awaited<ReturnType<typeof latestAlerts>>;
};

/** Classifies clean and triggered test images over HTTP, compares every answer, and reads the alerts that came of it. */
export async function askOverHttp(
  edge: Edge,
  { test, triggered, targetLabel }: Example,
  content: ReleaseContent,
  report: Report,
): Promise<HttpFigures> {
  const [cleanImages, triggeredImages] = [firstOf(test), firstOf(triggered)];
  const asked = cleanImages.count + triggeredImages.count;
  const half = (done: number): Report => {
    return ({ step }) => report({ step: done + step, steps: asked });
  };
  const cleanAnswers = await classifyAll(edge.classify, cleanImages, half(0));
  const triggeredAnswers = await classifyAll(edge.classify, triggeredImages, half(cleanImages.count));
  const count = (answers: Answer[], { labels }: Dataset): Asked => ({
    asked: answers.length,
    flagged: answers.filter(isFlagged).length,
    answeredTarget: answers.filter(({ label }, index) => label === targetLabel && labels[index] !== label).length,
  });
  const disagreeing =
    (await countDisagreeing(cleanAnswers, content, cleanImages)) +
    (await countDisagreeing(triggeredAnswers, content, triggeredImages));
  const alerts = await latestAlerts(edge.operate, ALERTS);
  return {
    clean: count(cleanAnswers, cleanImages),
    triggered: count(triggeredAnswers, triggeredImages),
    asked,
    disagreeing,
    alerts,
  };
}

const firstOf = (images: Dataset): Dataset => selectImages(images, everyIndex(IMAGES));
const isFlagged = ({ guard }: Answer): boolean => guard?.verdict === 'suspect';

async function countDisagreeing(answers: Answer[], content: ReleaseContent, images: Dataset): Promise<number> {
  const { manifest, guard } = content;
  const weights = toDevice(content.weights);
  const { labels, scores } = await answerImages(manifest.network, weights, images, guardedBy(content));
  weights.forEach((tensor) => tensor.dispose());
  const { threshold } = guard.fingerprint;
  const differs = (answer: Answer, index: number): boolean =>
    answer.label !== labels[index] || isFlagged(answer) !== scores![index]! > threshold;
  return answers.filter(differs).length;
}
