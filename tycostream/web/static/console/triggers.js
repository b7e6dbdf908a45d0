// The view of triggers: all that there are, how they stand, and a form for new ones.
import { button, count, el, empty, every, notice, pill, plural } from "./dom.js";
import { TriggerForm } from "./trigger_form.js";

const POLL_MS = 2_000;
const SHOWN = `fragment Shown on Trigger {
  name source webhook fire clear fields enabled endpoint_disabled watching cooldown_seconds created_at last_fired_at
  fired cleared suppressed delivered failed dropped waiting last_status last_error fired_count fired_rows(limit: 10)
}`;
const HEADS = ["Trigger", "State", "Rows fired", "FIRE", "CLEAR", "Delivered", "Failed", "Waiting", "Last answer", ""];

export class TriggersView {
  #app;
  #schema = null;
  #end = null;
  #lines = new Map(); // source and name -> Line

  constructor(app) {
    this.#app = app;
    this.trouble = el("div");
    this.body = el("tbody");
    const heads = HEADS.map((text, index) => el("th", { scope: "col", class: index > 1 && index < 8 ? "number" : "" }, text || el("span", { class: "hidden" }, "Actions")));
    this.table = el("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": "Triggers" },
      el("table", { class: "list" }, el("thead", {}, el("tr", {}, heads)), this.body));
    this.none = empty("No triggers", "A trigger calls a webhook when a row comes to match a condition, and again when it ceases to.");
    this.form = new TriggerForm(app, () => this.#poll());
    this.create = el("details", { class: "panel" }, el("summary", {}, "New trigger"), this.form.element);
    this.element = el("div", { class: "triggers" }, this.trouble, this.create, this.none, this.table);
    this.#sort();
  }

  set schema(schema) {
    this.#schema = schema;
    this.form.schema = schema;
  }

  enter() {
    this.#end = every(POLL_MS, () => this.#poll());
  }

  leave() {
    this.#end?.();
  }

  async #poll() {
    if (!this.#schema || this.#schema.sources.size === 0) return;
    const fields = [...this.#schema.sources.keys()].map((name) => `${name}_triggers { ...Shown }`);
    try {
      const told = await this.#app.client.request(`query { ${fields.join(" ")} } ${SHOWN}`);
      this.#draw(Object.values(told).flat());
      if (this.stale) this.trouble.replaceChildren();
      this.stale = false;
    } catch (error) {
      this.stale = true;
      this.trouble.replaceChildren(notice("bad", `What is shown may be old: ${error.message}`));
    }
  }

  #draw(triggers) {
    const present = new Set();
    for (const trigger of triggers) {
      const key = JSON.stringify([trigger.source, trigger.name]);
      present.add(key);
      if (!this.#lines.has(key)) this.#lines.set(key, new Line(trigger, (act) => this.#act(act, trigger)));
      this.#lines.get(key).show(trigger);
    }
    for (const [key, line] of this.#lines) {
      if (present.has(key)) continue;
      line.rows.forEach((row) => row.remove());
      this.#lines.delete(key);
    }
    this.#sort();
  }

  #sort() {
    for (const { rows } of this.#lines.values()) if (!rows[0].isConnected) this.body.append(...rows);
    this.none.hidden = this.#lines.size > 0;
    this.table.hidden = this.#lines.size === 0;
  }

  async #act(act, { source, name }) {
    try {
      await this.#app.client.request(`mutation ($name: String!) { ${act}_${source}_trigger(name: $name) { name } }`, { name });
      this.trouble.replaceChildren(notice("good", `${WORDS[act]} ${name}.`));
    } catch (error) {
      this.trouble.replaceChildren(notice("bad", error.message));
    }
    await this.#poll();
  }
}

const WORDS = { enable: "Enabled", disable: "Disabled", test: "Sent a test of", delete: "Deleted" };

// One trigger, and below it what else is known of it
class Line {
  constructor(trigger, act) {
    this.cells = HEADS.map((_, index) => {
      const label = index > 1 && index < 9 ? HEADS[index] : null;
      return el("td", { class: index > 1 && index < 8 ? "number" : "", "data-label": label });
    });
    this.more = button("Details", () => this.#open(), { class: "quiet", "aria-expanded": "false", "aria-label": `Details of ${trigger.name}` });
    this.toggles = button("", () => act(this.enabled ? "disable" : "enable"));
    const tests = button("Test", () => act("test"), { "aria-label": `Test ${trigger.name}` });
    this.deletes = button("Delete", () => this.#delete(act), { class: "danger", "aria-label": `Delete ${trigger.name}`, onblur: () => this.#calm() });
    this.cells[0].append(el("strong", {}, trigger.name), el("div", { class: "muted" }, trigger.source));
    this.cells[9].append(el("div", { class: "actions" }, this.more, this.toggles, tests, this.deletes));
    this.detail = el("td", { colSpan: HEADS.length });
    this.rows = [el("tr", {}, this.cells), el("tr", { class: "detail", hidden: true }, this.detail)];
  }

  show(trigger) {
    this.trigger = trigger;
    this.enabled = trigger.enabled && !trigger.endpoint_disabled;
    const state = trigger.endpoint_disabled ? "webhook gone (410)" : !trigger.enabled ? "disabled" : trigger.watching ? "watching" : "waits for its source";
    const words = [trigger.fired_count, trigger.fired, trigger.cleared, trigger.delivered, trigger.failed + trigger.dropped, trigger.waiting];
    this.cells[1].replaceChildren(pill(state, state === "watching" ? "good" : "warn"));
    words.forEach((number, index) => (this.cells[2 + index].textContent = count(number)));
    const { last_status: status, last_error: error } = trigger;
    this.cells[8].replaceChildren(status === null && !error ? el("span", { class: "muted" }, "none yet") : el("span", { class: error ? "fault" : "" }, [status, error].filter(Boolean).join(" ")));
    this.toggles.textContent = this.enabled ? "Disable" : "Enable";
    this.toggles.setAttribute("aria-label", `${this.toggles.textContent} ${trigger.name}`);
    if (!this.rows[1].hidden) this.#describe();
  }

  #open() {
    this.rows[1].hidden = !this.rows[1].hidden;
    this.more.setAttribute("aria-expanded", String(!this.rows[1].hidden));
    this.#describe();
  }

  #describe() {
    const { webhook, fire, clear, fields, cooldown_seconds: cooldown, created_at: created, last_fired_at: last, suppressed, fired_rows: rows, fired_count: fired } = this.trigger;
    const known = {
      Webhook: webhook, Fires: fire, Clears: clear ?? "when it does not match any more", "Sent columns": fields?.join(", ") ?? "all",
      Cooldown: `${cooldown} s`, Created: created, "Last fired": last ?? "never", "Not told": plural(suppressed, "event"),
      "Fired rows": rows.length === 0 ? "none" : `${rows.join("\n")}${fired > rows.length ? `\nand ${count(fired - rows.length)} more` : ""}`,
    };
    this.detail.replaceChildren(el("dl", { class: "known" }, Object.entries(known).flatMap(([label, text]) => [el("dt", {}, label), el("dd", {}, text)])));
  }

  // Asks again before it deletes
  #delete(act) {
    if (this.deletes.dataset.sure) act("delete");
    else {
      this.deletes.dataset.sure = "yes";
      this.deletes.textContent = "Really delete?";
    }
  }

  #calm() {
    delete this.deletes.dataset.sure;
    this.deletes.textContent = "Delete";
  }
}
