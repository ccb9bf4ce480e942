import { io } from '@tensorflow/tfjs-core';
import { loadLayersModel, type LayersModel } from '@tensorflow/tfjs-layers';

/** Loads the files of a TensorFlow.js model as tfjs-layers loads them from a server. */
export function loadTfjs(files: ReadonlyMap<string, Uint8Array>): Promise<LayersModel> {
  const fetchFunc = (url: string): Promise<Response> => {
    const name = url.slice(url.lastIndexOf('/') + 1);
    const type = name.endsWith('.json') ? 'application/json' : 'application/octet-stream';
    return Promise.resolve(new Response(files.get(name)!.slice(), { headers: { 'content-type': type } }));
  };
  return loadLayersModel(
    io.browserHTTPRequest('http://127.0.0.1/model.json', { fetchFunc: fetchFunc as typeof fetch }),
  );
}
