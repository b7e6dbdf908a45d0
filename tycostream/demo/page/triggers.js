// The panel of triggers: made, listed, tested, disabled and deleted by mutations like any other client's.

import { $, make, setText, sparingly } from "./dom.js";
import * as as from "./format.js";

const LIST = `{ live_pnl_triggers { name enabled fired_count fired cleared delivered failed last_error } }`;
const CREATE = `mutation ($input: live_pnlTriggerInput!) { create_live_pnl_trigger(input: $input) { name } }`;
const COLUMNS = {
  exposure: { title: "Exposure", fire: 35_000, clear: 33_000 },
  total_pnl: { title: "P&L", fire: 2_000, clear: 1_800 },
  unrealized_pnl: { title: "Unrealized P&L", fire: 1_000, clear: 800 },
  last_price: { title: "Price", fire: 300, clear: 295 },
  change_percent: { title: "Change %", fire: 1, clear: 0.5 },
};
const LOOK_MS = 2000;

export function triggerInput(column, side, fire, clear, symbol, webhook) {
  const [beyond, back] = side === "above" ? ["_gt", "_lt"] : ["_lt", "_gt"];
  const only = symbol === null ? {} : { symbol: { _eq: symbol } };
  const name = `${symbol === null ? "" : `${symbol} `}${COLUMNS[column].title.toLowerCase()} ${side} ${as.number(fire)}`;
  return {
    name: name[0].toUpperCase() + name.slice(1),
    webhook,
    fire: { ...only, [column]: { [beyond]: fire } },
    clear: { [column]: { [back]: clear } },
    fields: ["symbol", column],
  };
}

export class Triggers {
  #client;
  #webhook = null;
  #selected;
  #items = new Map(); // name -> what is shown of it
  #look = sparingly(300, () => this.#read());

  constructor(client, selected) {
    this.#client = client;
    this.#selected = selected;
    for (const [value, { title }] of Object.entries(COLUMNS)) {
      $("trigger-column").append(make("option", { value, textContent: title }));
    }
    $("trigger-column").onchange = $("trigger-side").onchange = () => this.#suggest();
    $("trigger-form").onsubmit = (event) => {
      event.preventDefault();
      this.#create();
    };
    this.#suggest();
    this.look();
    setInterval(() => document.visibilityState === "visible" && this.look(), LOOK_MS);
  }

  // Something has happened to triggers
  look() {
    this.#look();
  }

  #suggest() {
    const { fire, clear } = COLUMNS[$("trigger-column").value];
    const down = $("trigger-side").value === "below";
    const mirrored = $("trigger-column").value.match(/pnl|percent/) && down;
    $("trigger-fire").value = mirrored ? -fire : down ? clear : fire;
    $("trigger-clear").value = mirrored ? -clear : down ? fire : clear;
  }

  async #create() {
    const [column, side] = [$("trigger-column").value, $("trigger-side").value];
    const [fire, clear] = [Number($("trigger-fire").value), Number($("trigger-clear").value)];
    if (side === "above" ? clear > fire : clear < fire) {
      setText($("trigger-error"), `It clears ${side === "above" ? "below" : "above"} where it fires: mend one of the two.`);
      return;
    }
    await this.#carryOut(async () => {
      this.#webhook ??= (await (await fetch("/demo/about")).json()).webhook;
      const symbol = $("trigger-scope").value === "one" ? this.#selected() : null;
      const input = triggerInput(column, side, fire, clear, symbol, this.#webhook);
      await this.#client.request(CREATE, { input });
    });
  }

  async #carryOut(work) {
    setText($("trigger-error"), "");
    try {
      await work();
    } catch (error) {
      setText($("trigger-error"), error.message);
    }
    this.look();
  }

  async #read() {
    try {
      this.#show((await this.#client.request(LIST)).live_pnl_triggers);
    } catch {
      // Lost: it is read again when the connection is back
    }
  }

  #show(triggers) {
    const names = new Set(triggers.map(({ name }) => name));
    for (const [name, { item }] of this.#items) if (!names.has(name)) (this.#items.delete(name), item.remove());
    for (const trigger of triggers) {
      if (!this.#items.has(trigger.name)) this.#add(trigger.name);
      this.#update(this.#items.get(trigger.name), trigger);
    }
    setText($("triggers-count"), String(triggers.length));
    const empty = $("triggers").querySelector(".empty");
    if (triggers.length) empty?.remove();
    else if (!empty) $("triggers").append(make("li", { className: "empty", textContent: "No triggers. Create one above." }));
  }

  #add(name) {
    const toggle = make("button", { type: "button" });
    const [test, remove] = ["Test", "Delete"].map((textContent) => make("button", { type: "button", textContent }));
    const told = make("small");
    const item = make("li", {}, make("b", { textContent: name }), make("div", { className: "actions" }, test, toggle, remove), told);
    const shown = { item, toggle, told, enabled: true };
    const call = (verb) => this.#carryOut(() => this.#client.request(`mutation ($name: String!) { ${verb}_live_pnl_trigger(name: $name) { name } }`, { name }));
    toggle.onclick = () => call(shown.enabled ? "disable" : "enable");
    test.onclick = () => call("test");
    remove.onclick = async () => {
      await call("delete");
      $("trigger-form").querySelector(".primary").focus(); // the button that had the focus is gone
    };
    for (const [button, words] of [[test, "Test"], [remove, "Delete"]]) button.setAttribute("aria-label", `${words} ${name}`);
    this.#items.set(name, shown);
    $("triggers").append(item);
  }

  #update(shown, { name, enabled, fired_count: now, fired, cleared, failed, last_error: error }) {
    shown.enabled = enabled;
    shown.item.dataset.enabled = enabled;
    setText(shown.toggle, enabled ? "Disable" : "Enable");
    shown.toggle.setAttribute("aria-label", `${enabled ? "Disable" : "Enable"} ${name}`);
    const words = `${enabled ? "" : "Disabled. "}Fired for ${as.units(now)} now; fired ${as.units(fired)}, cleared ${as.units(cleared)} times`;
    setText(shown.told, failed && error ? `${words}. ${error}` : words);
  }
}
