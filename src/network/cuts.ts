/** Where a network can be parted into trunk and head. */
import { IMAGES, weightShapes, type Layer, type Network } from './network.ts';

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

function weightedHead(network: Network, cut: string): Layer[] {
  const weighted = new Set([...weightShapes(network).keys()].map((name) => name.slice(0, name.lastIndexOf('/'))));
  return headLayers(network, cut).filter(({ name }) => weighted.has(name));
}

/** The last cut with weights behind it; undefined where there is none. */
export const lastCut = (network: Network): string | undefined =>
  cutCandidates(network).findLast((cut) => weightedHead(network, cut).length);

/** `flat`, or `stage1 and, in the victim, at flat`: where a guard watches, in words. */
export const placesOf = (network: Network, cut: string): string =>
  guardNodes(network, cut).join(' and, in the victim, at ');

/** The nodes at which a guard watches the victim: where the trunk ends, and the last cut if weights lie between. */
export function guardNodes(network: Network, cut: string): string[] {
  const last = lastCut(network);
  const isEarlier = last !== undefined && weightedHead(network, cut).length > weightedHead(network, last).length;
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
