// Risk levels by the visitor's own thresholds: a calculated field, whose rules go with the subscription.
//
// Only `risk_level` is selected, so nothing comes but changes of the level. With every move of a thumb the subscription
// is made again with new rules; its first rows are all positions in their new states.

import { $, setText, sparingly } from "./dom.js";
import * as as from "./format.js";

const MOST = 100_000;
const STEP = 1_000;
const START = { warning: 30_000, critical: 55_000 };
const MOVE_MS = 120;
const BINS = 50;
const SPREAD_MS = 300;

export function riskQuery(warning, critical, slack) {
  const rule = (state, at) =>
    `    {state: ${state}, when: {exposure: {_gt: ${at}}}, until: {exposure: {_lt: ${Math.round(at * (1 - slack / 100))}}}}`;
  return `subscription {
  live_pnl(derive_risk_level: [
${rule("critical", critical)}
${rule("warning", warning)}
  ]) {
    operation
    data { symbol risk_level }
    fields
  }
}`;
}

export class Risks {
  onChange = () => {}; // a level is new
  exposures = () => []; // of all positions
  #bars = [];
  #levels = new Map();
  #counts = { normal: 0, warning: 0, critical: 0 };
  #client;
  #onUpdate;
  #end = () => {};
  #show = sparingly(150, () => this.#showShares());

  constructor(client, { onUpdate }) {
    this.#client = client;
    this.#onUpdate = onUpdate;
    const follow = sparingly(MOVE_MS, () => this.#follow());
    for (const name of ["warning", "critical"]) {
      Object.assign($(name), { min: 0, max: MOST, step: STEP, value: START[name] });
      $(name).oninput = () => {
        this.#keepApart(name);
        this.#showThresholds();
        follow();
      };
    }
    $("slack").oninput = $("warning").oninput;
    for (let place = 0; place < BINS; place += 1) {
      const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of [["x", place + 0.1], ["width", 0.8]]) bar.setAttribute(name, value);
      $("spread").append(bar);
      this.#bars.push(bar);
    }
    this.#showThresholds();
    this.#follow();
    setInterval(() => this.#showSpread(), SPREAD_MS);
  }

  of(symbol) {
    return this.#levels.get(symbol);
  }

  #values() {
    return [Number($("warning").value), Number($("critical").value), Number($("slack").value)];
  }

  // A thumb pushes the other one along
  #keepApart(name) {
    const [warning, critical] = this.#values();
    if (warning <= critical) return;
    if (name === "warning") $("critical").value = warning;
    else $("warning").value = critical;
  }

  #follow() {
    this.#end();
    this.#end = this.#client.subscribe(riskQuery(...this.#values()), {}, {
      next: ({ live_pnl: update }) => {
        this.#onUpdate();
        this.#apply(update);
      },
      restart: () => {
        this.#levels.clear();
        this.#counts = { normal: 0, warning: 0, critical: 0 };
      },
      error: ([{ message }]) => setText($("risk-shares"), message),
    });
  }

  #apply({ operation, data: { symbol, risk_level: level } }) {
    if (this.#levels.has(symbol)) this.#counts[this.#levels.get(symbol) ?? "normal"] -= 1;
    if (operation === "DELETE") this.#levels.delete(symbol);
    else {
      this.#levels.set(symbol, level);
      this.#counts[level ?? "normal"] += 1;
      this.onChange(symbol, level);
    }
    this.#show();
  }

  #showThresholds() {
    const [warning, critical, slack] = this.#values();
    for (const [name, value] of [["warning", warning], ["critical", critical]]) {
      setText($(`${name}-at`), as.money(value));
      $(name).setAttribute("aria-valuetext", as.money(value));
    }
    setText($("slack-at"), `${slack} %`);
    const at = (value) => `${(value / MOST) * 100}%`;
    const stops = `var(--accent) ${at(warning)}, var(--warning) ${at(warning)} ${at(critical)}, var(--critical) ${at(critical)}`;
    $("thumbs").querySelector(".track").style.background = `linear-gradient(to right, ${stops})`;
    // The thumb that can still move is on top where both are at one end
    $("warning").style.zIndex = warning > MOST / 2 ? 2 : 1;
    $("critical").style.zIndex = warning > MOST / 2 ? 1 : 2;
    this.#showSpread();
    setText($("risk-query"), riskQuery(warning, critical, slack));
  }

  // How many positions have which exposure, over the slider's range; what lies beyond it is in the last bar
  #showSpread() {
    const counts = new Array(BINS).fill(0);
    for (const exposure of this.exposures()) counts[Math.min(BINS - 1, Math.floor((exposure / MOST) * BINS))] += 1;
    const most = Math.max(1, ...counts);
    const [warning, critical] = this.#values();
    for (const [place, bar] of this.#bars.entries()) {
      const height = (counts[place] / most) * 20;
      const from = ((place + 0.5) / BINS) * MOST;
      bar.setAttribute("y", 20 - height);
      bar.setAttribute("height", height);
      bar.setAttribute("class", from > critical ? "critical" : from > warning ? "warning" : "");
    }
  }

  #showShares() {
    const { warning, critical } = this.#counts;
    setText($("risk-shares"), `${as.units(critical)} critical, ${as.units(warning)} warning`);
    setText($("total-risk"), `${as.units(critical + warning)} of ${as.units(this.#levels.size)}`);
  }
}
