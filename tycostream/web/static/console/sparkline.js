// A small curve of the last rates.
const SVG = "http://www.w3.org/2000/svg";
const POINTS = 60;
const HEIGHT = 24;

function node(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function sparkline() {
  const element = node("svg", { class: "spark", viewBox: `0 0 ${POINTS - 1} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const line = node("polyline", { fill: "none", "vector-effect": "non-scaling-stroke" });
  element.append(line);
  const show = (rates) => {
    const most = Math.max(1, ...rates);
    const from = POINTS - rates.length;
    line.setAttribute("points", rates.map((rate, index) => `${from + index},${(HEIGHT - 1 - (rate / most) * (HEIGHT - 3)).toFixed(1)}`).join(" "));
  };
  return { element, show };
}
