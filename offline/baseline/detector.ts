/** Every input-level detector behind one interface. All look at the victim: a purified model no longer shows what to look for. */
import { guardShare } from '../../src/network/cost.ts';
import type { Trigger } from '../../src/trigger/trigger.ts';
import { calibrate, scoreImages } from '../calibrate.ts';
import type { Dataset } from '../data/dataset.ts';
import type { Model } from '../model.ts';
import { toDevice } from '../../src/network/forward.ts';
import { matchImages } from './image-match.ts';
import { scaleUp, SCALES } from './scale-up.ts';
import { strip, STRIP_COPIES } from './strip.ts';

export type DetectorInput = {
  /** The victim, batch norm folded. */
  model: Model;
  clean: Dataset;
  seed: number;
  /** The recovered triggers of each label that was graded a backdoor; empty for a detector that needs none. */
  pools: readonly (readonly Trigger[])[];
  /** Where the trunk ends, for the guard. */
  cut: string;
};

/** The rate of false alarms that a detector's own threshold promises, and its upper confidence bound. */
export type Promised = { threshold: number; falsePositiveRate: number; falsePositiveBound: number };
/** Scores [N] of images, higher for what looks triggered; `moreForwardPasses`: the arithmetic beyond whole passes, as a share of one. */
export type Fitted = {
  score: (images: Dataset) => Promise<Float32Array>;
  promised?: Promised;
  moreForwardPasses?: number;
};

export type Detector = {
  name: string;
  source: string;
  differs: readonly string[];
  needsTriggers: boolean;
  /** Whole forward passes that one input costs, the one that answers it included where it serves both. */
  forwardPasses: number;
  fit(input: DetectorInput): Promise<Fitted>;
};

const FALSE_POSITIVE_RATE = 0.005;

async function fitProbe({ model, clean, seed, pools, cut }: DetectorInput): Promise<Fitted> {
  const { network, weights } = model;
  const input = { network, weights, cut, images: clean, pools, falsePositiveRate: FALSE_POSITIVE_RATE, seed };
  const { probes, threshold, falsePositiveBound } = await calibrate(input);
  return {
    score: async (images) => {
      const device = toDevice(weights);
      const scores = await scoreImages(network, device, cut, probes, images);
      device.forEach((tensor) => tensor.dispose());
      return scores;
    },
    promised: { threshold, falsePositiveRate: FALSE_POSITIVE_RATE, falsePositiveBound: falsePositiveBound.upper },
    moreForwardPasses: guardShare(network, cut),
  };
}

/** The detectors by the names that grids and records know. */
export const DETECTORS: readonly Detector[] = [
  {
    name: 'probe',
    source: 'this project: offline/calibrate.ts on the trunk of the release and the victim behind it',
    differs: [],
    needsTriggers: true,
    forwardPasses: 1,
    fit: fitProbe,
  },
  {
    name: 'strip',
    source: 'Gao et al., ACSAC 2019, arXiv 1902.06531',
    differs: [`${STRIP_COPIES} superimposed images an input; the paper has 100 and finds 10 sufficient.`],
    needsTriggers: false,
    forwardPasses: STRIP_COPIES,
    fit: strip,
  },
  {
    name: 'scale-up',
    source: 'Guo et al., ICLR 2023, arXiv 2302.03251, the data-free variant',
    differs: [],
    needsTriggers: false,
    forwardPasses: 1 + SCALES.length,
    fit: scaleUp,
  },
  {
    name: 'image-match',
    source: 'normalised correlation with the recovered triggers, in image space',
    differs: [],
    needsTriggers: true,
    forwardPasses: 0,
    fit: matchImages,
  },
];
