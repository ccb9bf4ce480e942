/** Where a network can be parted into trunk and head. */
import { IMAGES, weightShapes, type Layer, type Network, type Shape } from './network.ts';

/**
 * The nodes where trunk and head can be parted: every path from `images` to the output passes through them,
 * in order from the input; `images` and the output themselves are left out.
 */
export function cutCandidates(network: Network): string[] {
  const used = usedLayers(network);
  const last = new Map<string, number>();
  used.forEach((item, index) => item.inputs.forEach((input) => last.set(input, index)));
  const cuts: string[] = [];
  let open = last.get(IMAGES) ?? 0;
  used.forEach((item, index) => {
    if (index >= open && item.name !== network.output) cuts.push(item.name);
    open = Math.max(open, last.get(item.name) ?? 0);
  });
  return cuts;
}

/** The layers that lie behind a cut: those that depend on it, in order (the head). */
export function headLayers(network: Network, cut: string): Layer[] {
  const behind = new Set([cut]);
  return usedLayers(network).filter((item) => {
    const depends = item.inputs.some((input) => behind.has(input));
    if (depends) behind.add(item.name);
    return depends;
  });
}

/** The name and shape of every weight of the layers behind a cut. */
export function headWeightShapes(network: Network, cut: string): Map<string, Shape> {
  const head = new Set(headLayers(network, cut).map(({ name }) => name));
  return new Map([...weightShapes(network)].filter(([name]) => head.has(name.slice(0, name.lastIndexOf('/')))));
}

/** Those of a network's weights that lie behind a cut, by name. */
export function headWeights<T>(network: Network, weights: ReadonlyMap<string, T>, cut: string): Map<string, T> {
  return new Map([...headWeightShapes(network, cut).keys()].map((name) => [name, weights.get(name)!]));
}

/** The last cut with weights behind it; undefined where there is none. */
export const lastCut = (network: Network): string | undefined =>
  cutCandidates(network).findLast((cut) => headWeightShapes(network, cut).size);

/** The nodes at which a guard watches the victim: where the trunk ends, and the last cut if weights lie between. */
export function guardNodes(network: Network, cut: string): string[] {
  const last = lastCut(network);
  const isEarlier = last !== undefined && headWeightShapes(network, cut).size > headWeightShapes(network, last).size;
  return isEarlier ? [cut, last] : [cut];
}

/** The layers that the output needs, in order. */
export function usedLayers({ layers, output }: Pick<Network, 'layers' | 'output'>): Layer[] {
  const needed = new Set([output]);
  const used = layers.toReversed().filter((item) => {
    if (!needed.has(item.name)) return false;
    item.inputs.forEach((input) => needed.add(input));
    return true;
  });
  return used.reverse();
}
