// The view in which documents are written and run: queries and mutations over HTTP, subscriptions over the WebSocket.
import { createClient } from "../lib/client.js";
import { button, el, empty, notice, plural } from "./dom.js";
import { Docs } from "./docs.js";
import { Editor } from "./editor.js";
import { Grid } from "./grid.js";
import { draft, forget, history, keepDraft, remember } from "./history.js";
import { Messages } from "./messages.js";
import { operations } from "./tokens.js";

const START = `# Ctrl-Enter runs this, Ctrl-Space completes.
query {
  __typename
}
`;

class Mistake extends Error {}

export class QueryView {
  #app;
  #stop = null; // ends what runs
  #shown = "rows";

  constructor(app) {
    this.#app = app;
    const kept = draft();
    const keep = () => {
      keepDraft(this.editor.value, this.variables.value);
      this.#operations();
    };
    this.variables = el("textarea", { value: kept.variables, rows: 4, spellcheck: false, "aria-label": "Variables, as JSON", placeholder: '{"id": 1}', oninput: keep });
    this.headers = el("textarea", { rows: 3, spellcheck: false, autocomplete: "off", "aria-label": "Headers, as JSON", placeholder: '{"Authorization": "Bearer …"}' });
    this.editor = new Editor({ label: "GraphQL document", onchange: () => this.variables && keep() });
    this.operation = el("select", { "aria-label": "Operation to run", hidden: true });
    this.runs = button("Run", () => this.run(), { class: "primary", title: "Ctrl-Enter" });
    this.stops = button("Stop", () => this.stop(), { disabled: true });
    this.status = el("span", { class: "muted numbers", role: "status" });
    this.result = el("div", { class: "result" });
    this.docs = new Docs();
    this.past = el("div", { class: "history" });
    this.element = el("div", { class: "query" }, this.#writing(), this.#showing(), this.#side());
    this.editor.value = kept.query || START;
    this.result.append(empty("Nothing has run yet", "Write a query, a mutation or a subscription, then run it with Ctrl-Enter."));
    this.#history();
  }

  set schema(schema) {
    this.editor.schema = schema;
    this.docs.schema = schema;
  }

  // From another view
  open(query) {
    this.editor.value = query;
    this.variables.value = "";
  }

  focus() {
    this.editor.area.focus();
  }

  #writing() {
    return el("section", { class: "panel writing", "aria-label": "Document" }, this.editor.element,
      el("details", {}, el("summary", {}, "Variables"), this.variables),
      el("details", {}, el("summary", {}, "Headers"), this.headers,
        el("small", { class: "muted" }, "Sent with queries and mutations; for a subscription, as the payload of connection_init. Not kept.")),
      el("div", { class: "bar" }, this.runs, this.stops, this.operation, this.status));
  }

  #showing() {
    return el("section", { class: "panel showing", "aria-label": "Result" }, this.result);
  }

  #side() {
    return el("aside", { class: "side", "aria-label": "Schema and history" },
      el("details", { class: "panel", open: matchMedia("(min-width: 60rem)").matches }, el("summary", {}, "Schema"), this.docs.element),
      el("details", { class: "panel" }, el("summary", {}, "History"), this.past));
  }

  #operations() {
    const named = operations(this.editor.value).filter(({ name }) => name).map(({ name }) => name);
    const chosen = named.includes(this.operation.value) ? this.operation.value : named[0];
    this.operation.hidden = named.length < 2;
    this.operation.replaceChildren(...named.map((name) => el("option", { value: name, selected: name === chosen }, name)));
  }

  #history() {
    const kept = history();
    const items = kept.map(({ query, variables, at }) => {
      const words = query.split("\n").filter((line) => !line.startsWith("#")).join(" ").replace(/\s+/g, " ").trim();
      const open = () => {
        this.editor.value = query;
        this.variables.value = variables;
        keepDraft(query, variables);
        this.focus();
      };
      return el("li", {}, button(words || query, open, { class: "link past", title: query }), el("small", { class: "muted numbers" }, new Date(at).toLocaleTimeString()));
    });
    const clear = button("Clear history", () => {
      forget();
      this.#history();
    }, { class: "quiet" });
    this.past.replaceChildren(items.length ? el("ul", {}, items) : empty("No history", "What you run is kept in this browser, without headers."), items.length ? clear : "");
  }

  #json(area, name) {
    let value;
    try {
      value = JSON.parse(area.value.trim() || "{}");
    } catch (error) {
      throw new Mistake(`The ${name} are not JSON: ${error.message}`);
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Mistake(`The ${name} must be a JSON object.`);
    return value;
  }

  stop(words = "stopped") {
    if (!this.#stop) return;
    this.#stop();
    this.#stop = null;
    this.stops.disabled = true;
    this.status.textContent = words;
  }

  async run() {
    this.stop();
    const query = this.editor.value;
    try {
      const variables = this.#json(this.variables, "variables");
      const headers = this.#json(this.headers, "headers");
      remember(query, this.variables.value);
      this.#history();
      const all = operations(query);
      const chosen = all.length > 1 ? all.find(({ name }) => name === this.operation.value) : all[0];
      const request = { query, variables, ...(all.length > 1 && chosen && { operationName: chosen.name }) };
      if (chosen?.kind === "subscription") this.#subscribe(request, headers, chosen);
      else await this.#fetch(request, headers);
    } catch (error) {
      if (!(error instanceof Mistake)) throw error;
      this.result.replaceChildren(notice("bad", error.message));
      this.status.textContent = "";
    }
  }

  async #fetch(request, headers) {
    const control = new AbortController();
    this.#stop = () => control.abort();
    this.stops.disabled = false;
    this.status.textContent = "running";
    const began = performance.now();
    try {
      const answer = await fetch(this.#app.graphql, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/graphql-response+json, application/json", ...headers },
        body: JSON.stringify(request),
        signal: control.signal,
      });
      const text = await answer.text();
      const took = Math.round(performance.now() - began);
      if (control.signal.aborted) return;
      this.#answer(text);
      this.stop(`${answer.status} ${answer.statusText} in ${took} ms`);
    } catch (error) {
      if (control.signal.aborted) return;
      this.result.replaceChildren(notice("bad", `There was no answer: ${error.message}`));
      this.stop("");
    }
  }

  #answer(text) {
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      this.result.replaceChildren(notice("bad", "The answer is no JSON."), el("pre", { class: "json" }, text));
      return;
    }
    const errors = (value.errors ?? []).map((error) => notice("bad", error.message));
    this.result.replaceChildren(...errors, el("pre", { class: "json", tabIndex: 0, "aria-label": "Answer" }, JSON.stringify(value, null, 2)));
  }

  #subscribe(request, headers, { field, key }) {
    const own = Object.keys(headers).length > 0 && createClient({ url: this.#app.socket, connectionParams: headers, onState: ({ state, reason }) => {
      if (state === "closed" && reason !== "closed here") this.status.textContent = `the connection ended: ${reason}`;
    } });
    const shown = new Updates(this.#app.schema?.sources.get(field), key, this.#shown, (what) => (this.#shown = what));
    shown.onWords = (words) => this.#stop && (this.status.textContent = words);
    this.result.replaceChildren(shown.element);
    const end = (own || this.#app.client).subscribe(request.query, request.variables, {
      next: (data) => shown.next(data),
      restart: () => shown.restart(),
      error: (errors) => {
        this.stop("ended with an error");
        this.result.prepend(...errors.map((error) => notice("bad", error.message)));
      },
      complete: () => this.stop("complete"),
    }, request.operationName);
    this.#stop = () => {
      end();
      own && own.close();
      shown.end();
    };
    this.stops.disabled = false;
    this.status.textContent = "waiting for the first update";
  }
}

// A subscription's updates, as a table of rows and as they came
class Updates {
  #source;
  #key;
  #grid = null;
  #count = 0;

  constructor(source, key, shown, onChoose) {
    this.#source = source;
    this.#key = key;
    this.messages = new Messages();
    this.rows = el("div", { class: "updates" }, empty("No rows yet", "Rows appear here as they arrive."));
    const choose = (what) => {
      onChoose(what);
      this.rows.hidden = what !== "rows";
      this.messages.element.hidden = what !== "messages";
      tabs.forEach((tab) => tab.setAttribute("aria-pressed", String(tab.dataset.what === what)));
    };
    const tabs = [["rows", "Rows"], ["messages", "Messages"]].map(([what, text]) => {
      const tab = button(text, () => choose(what));
      tab.dataset.what = what;
      return tab;
    });
    this.element = el("div", {}, el("div", { class: "bar tabs", role: "group", "aria-label": "Show the updates as" }, tabs), this.rows, this.messages.element);
    choose(shown);
  }

  next(data) {
    this.#count += 1;
    this.messages.add(data);
    const update = data[this.#key];
    if (this.#grid === null) this.#begin(update);
    if (this.#grid) this.#grid.apply(update);
    else this.onWords(plural(this.#count, "update"));
  }

  restart() {
    this.#grid?.clear();
    this.messages.note("The connection was lost: all rows come anew.");
  }

  end() {
    this.#grid?.end();
  }

  // A table, where the updates tell rows by their key
  #begin(update) {
    this.#grid = false;
    const missing = this.#why(update);
    if (missing) {
      this.rows.replaceChildren(empty("No table", missing));
      return;
    }
    const columns = Object.keys(update.data).map((name) => this.#source.columns.find((one) => one.name === name) ?? { name, type: "", enum: null });
    this.#grid = new Grid({
      columns, key: this.#source.key, name: this.#source.name,
      onDraw: () => this.onWords(`${this.#grid.words()}, ${plural(this.#count, "update")}`),
    });
    this.rows.replaceChildren(this.#grid.element);
  }

  #why(update) {
    if (!this.#source) return "This subscription is not to a source: see the messages.";
    if (typeof update?.operation !== "string" || !update.data) return "Select operation and data to see rows.";
    const missing = this.#source.key.filter((name) => !(name in update.data));
    return missing.length ? `Select the key to see rows: ${missing.join(", ")}.` : null;
  }
}
