// Building the page. Text goes in as text, never as HTML.

// An element: `on…` are listeners, `class` and names with a dash attributes, the rest properties
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-") || name === "for" || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

export function button(text, onclick, properties = {}) {
  return el("button", { type: "button", onclick, ...properties }, text);
}

// A select; options are texts, or { value, label }
export function select(options, value, onchange, properties = {}) {
  const items = options.map((option) => {
    const { value: of, label } = typeof option === "string" ? { value: option, label: option } : option;
    return el("option", { value: of, selected: of === value }, label);
  });
  return el("select", { onchange: (event) => onchange?.(event.target.value), ...properties }, ...items);
}

// A labelled control
export function field(label, control, hint) {
  return el("label", { class: "field" }, el("span", { class: "label" }, label), control, hint && el("small", {}, hint));
}

// What is shown where there is nothing to show
export function empty(title, ...words) {
  return el("div", { class: "empty" }, el("strong", {}, title), el("p", {}, ...words));
}

export function notice(kind, ...words) {
  return el("p", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, ...words);
}

export function pill(text, kind = "") {
  return el("span", { class: `pill ${kind}` }, text);
}

const whole = new Intl.NumberFormat("en-US");
const one = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

export function count(number) {
  return number === null || number === undefined ? "–" : whole.format(number);
}

export function rate(number) {
  return number === null || number === undefined ? "–" : number < 10 ? one.format(number) : whole.format(Math.round(number));
}

export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// The kinds of colour for what actors and sources are
export function mood(state) {
  if (state === "LIVE" || state === "running" || state === "live") return "good";
  if (state === "FAILED" || state === "failed" || state === "closed") return "bad";
  if (state === "STALE" || state === "restarting" || state === "stale" || state === "reconnecting") return "warn";
  return "";
}

// Runs `what` at once and then every so often, while the page is seen; returns what ends it
export function every(milliseconds, what) {
  let timer = null;
  let ended = false;
  const turn = async () => {
    if (!document.hidden) await what();
    if (!ended) timer = setTimeout(turn, milliseconds);
  };
  turn();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
