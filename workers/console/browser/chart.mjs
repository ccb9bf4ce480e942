/** Draws one chart of the last hour: lines over minutes, and what they say where the pointer is. */
const NAMESPACE = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [360, 150, 38, 6, 8, 20];

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 */
function shape(name, attributes, text) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/**
 * The least of 1, 2, 5, 10, 20... that is at least `value`.
 * @param {number} value
 */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? value;
}

/**
 * `lines`: the values of each line, null where there is nothing to say. `write` puts a value into words, `least` is the smallest top of the scale.
 * @typedef {{ minutes: string[], lines: (number | null)[][], names: string[], write: (value: number) => string, least: number }} Chart
 */

/**
 * @param {SVGSVGElement} svg
 * @param {HTMLOutputElement} output
 * @param {Chart} chart
 */
export function draw(svg, output, { minutes, lines, names, write, least }) {
  const top = niceAbove(Math.max(least, ...lines.flat().map((value) => value ?? 0)));
  const x = (/** @type {number} */ index) => LEFT + (index * (WIDTH - LEFT - RIGHT)) / (minutes.length - 1);
  const y = (/** @type {number} */ value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);

  const scale = [0, top / 2, top].flatMap((value) => [
    shape('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    shape('text', { x: LEFT - 5, y: y(value) + 3.5, 'text-anchor': 'end' }, write(value)),
  ]);
  const times = [0, 20, 40, minutes.length - 1].map((index) => {
    const anchor = index === 0 ? 'start' : index === minutes.length - 1 ? 'end' : 'middle';
    return shape('text', { x: x(index), y: HEIGHT - 5, 'text-anchor': anchor }, clock(minutes[index] ?? ''));
  });
  const drawn = lines.map((values, line) =>
    shape('path', { class: `line ${line === 0 ? 'one' : 'two'}`, d: path(values, x, y) }),
  );
  const cursor = shape('line', { class: 'cursor', y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
  const plane = shape('rect', { x: 0, y: 0, width: WIDTH, height: HEIGHT, fill: 'transparent' });
  svg.replaceChildren(...scale, ...times, ...drawn, cursor, plane);

  const last = minutes.length - 1;
  const spoken = (/** @type {number | null} */ value) => (value === null ? '–' : write(value));
  const read = (/** @type {number} */ index) => {
    const said = lines.map((values, line) => `${names[line] ?? ''} ${spoken(values[index] ?? null)}`);
    output.value = `${clock(minutes[index] ?? '')}: ${said.join(', ')}`;
  };
  read(last);
  plane.addEventListener('pointermove', ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect();
    const share = ((clientX - left) / width) * WIDTH - LEFT;
    const index = Math.min(last, Math.max(0, Math.round((share / (WIDTH - LEFT - RIGHT)) * last)));
    for (const key of ['x1', 'x2']) cursor.setAttribute(key, String(x(index)));
    cursor.setAttribute('visibility', 'visible');
    read(index);
  });
  plane.addEventListener('pointerleave', () => {
    cursor.setAttribute('visibility', 'hidden');
    read(last);
  });
}

/**
 * One stroke for each run of values; a value alone is a dot.
 * @param {(number | null)[]} values
 * @param {(index: number) => number} x
 * @param {(value: number) => number} y
 */
function path(values, x, y) {
  let open = false;
  const strokes = values.map((value, index) => {
    if (value === null) {
      open = false;
      return '';
    }
    const point = `${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
    const stroke = open ? `L${point}` : `M${point}h.01`;
    open = true;
    return stroke;
  });
  return strokes.join('');
}

/** @param {string} iso */
const clock = (iso) => iso.slice(11, 16);
