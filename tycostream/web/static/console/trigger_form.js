// The form for a new trigger.
import { el, field, notice, select } from "./dom.js";
import { FilterForm } from "./filter_form.js";

export class TriggerForm {
  #app;
  #schema = null;
  #created;

  constructor(app, created) {
    this.#app = app;
    this.#created = created;
    this.name = el("input", { required: true, maxLength: 200, autocomplete: "off" });
    this.webhook = el("input", { type: "url", required: true, placeholder: "https://", autocomplete: "off" });
    this.existing = el("input", { type: "checkbox" });
    this.cooldown = el("input", { type: "number", min: "0", step: "any", placeholder: "0" });
    this.source = el("div");
    this.fire = el("div");
    this.clear = el("div");
    this.told = el("div");
    this.element = el("form", { class: "stack", onsubmit: (event) => this.#submit(event) },
      el("div", { class: "fields-row" }, this.source, field("Name", this.name), field("Webhook", this.webhook)),
      this.fire, this.clear,
      el("div", { class: "fields-row" }, field("Cooldown, in seconds", this.cooldown),
        el("label", { class: "check" }, this.existing, "Fire for rows that match already")),
      el("div", { class: "bar" }, el("button", { class: "primary" }, "Create trigger")), this.told);
  }

  set schema(schema) {
    this.#schema = schema;
    const names = [...schema.sources.keys()];
    if (names.length === 0) return;
    this.source.replaceChildren(field("Source", select(names, names[0], (name) => this.#choose(name))));
    this.#choose(names[0]);
  }

  #choose(name) {
    const { columns } = this.#schema.sources.get(name);
    this.chosen = name;
    this.fires = new FilterForm({ columns, name: "Condition that fires" });
    this.clears = new FilterForm({ columns, name: "Condition that clears" });
    this.fire.replaceChildren(el("h4", {}, "Fires"), this.fires.element);
    this.clear.replaceChildren(el("h4", {}, "Clears ", el("small", { class: "muted" }, "without conditions: when a row no longer fires")), this.clears.element);
  }

  async #submit(event) {
    event.preventDefault();
    const fire = this.fires.where();
    const clear = this.clears.where();
    if (fire === null || clear === null) return;
    const parts = ["name: $name", "webhook: $webhook", "on_create: $existing", "cooldown_seconds: $cooldown", `fire: ${fire || "{}"}`, clear && `clear: ${clear}`];
    const query = `mutation ($name: String!, $webhook: String!, $existing: TriggerOnCreate, $cooldown: Float) {
  create_${this.chosen}_trigger(input: {${parts.filter(Boolean).join(", ")}}) { name watching }
}`;
    const variables = {
      name: this.name.value, webhook: this.webhook.value,
      existing: this.existing.checked ? "FIRE_EXISTING" : "REMEMBER_EXISTING",
      cooldown: this.cooldown.value === "" ? null : Number(this.cooldown.value),
    };
    try {
      await this.#app.client.request(query, variables);
      this.told.replaceChildren(notice("good", `Created ${this.name.value}.`));
      this.name.value = "";
      this.#created();
    } catch (error) {
      const codes = (error.errors ?? []).map(({ extensions }) => extensions?.code).filter(Boolean);
      this.told.replaceChildren(notice("bad", error.message, codes.length > 0 && el("code", {}, ` ${codes.join(", ")}`)));
    }
  }
}
