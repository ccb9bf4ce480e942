/** Every route of the HTTP API as data: the worker serves exactly these, and the OpenAPI document is made of them. */
import { alertRoutes } from './alerts.ts';
import { classifyRoutes } from './classify.ts';
import { huggingFaceRoutes } from './hugging-face.ts';
import { openInferenceRoutes } from './open-inference.ts';
import { releaseRoutes } from './releases.ts';
import { retroHuntRoutes } from './retro-hunt.ts';
import { rolloutRoutes } from './rollout.ts';
import { statusResponse, type Routes } from './route.ts';
import { tensorflowServingRoutes } from './tensorflow-serving.ts';

const serviceRoutes = {
  health: {
    method: 'get',
    path: '/healthz',
    summary: 'The process is alive',
    roles: [],
    status: 200,
    response: statusResponse,
    errors: [],
  },
  ready: {
    method: 'get',
    path: '/readyz',
    summary: 'A release is active, verified and loaded',
    roles: [],
    status: 200,
    response: statusResponse,
    errors: [503],
  },
  openApi: {
    method: 'get',
    path: '/openapi.json',
    summary: 'This document',
    roles: [],
    status: 200,
    response: 'any',
    errors: [],
  },
  docs: {
    method: 'get',
    path: '/docs',
    summary: 'The same as a page',
    roles: [],
    status: 200,
    response: 'any',
    responseType: 'text/html',
    errors: [],
  },
} as const satisfies Routes;

/** The routes of each subject, as people look for them. */
export const subjects = {
  Classification: classifyRoutes,
  'Open Inference Protocol': openInferenceRoutes,
  'Hugging Face': huggingFaceRoutes,
  'TensorFlow Serving': tensorflowServingRoutes,
  Releases: releaseRoutes,
  Rollouts: rolloutRoutes,
  Alerts: alertRoutes,
  'Retro-hunt': retroHuntRoutes,
  Service: serviceRoutes,
} as const satisfies Record<string, Routes>;

/** Every route: of each subject, so that none is served without being described. */
export const routes = {
  ...subjects.Classification,
  ...subjects['Open Inference Protocol'],
  ...subjects['Hugging Face'],
  ...subjects['TensorFlow Serving'],
  ...subjects.Releases,
  ...subjects.Rollouts,
  ...subjects.Alerts,
  ...subjects['Retro-hunt'],
  ...subjects.Service,
} as const satisfies Routes;
