// How the sources stand: their states by a subscription where the service has one, else by /health; their counts by
// /debug/actors, which the service may refuse to those who are not on its machine.
import { every } from "./dom.js";

const STATES_MS = 2_000;
const COUNTS_MS = 1_000;
const MOST_RATES = 60; // that are kept of each source

const SUBSCRIPTION = "subscription { source_status { source state since reason lag_ms } }";
const LAGS = "query { source_status { source lag_ms } }"; // the subscription tells changes of the state alone

export class Status {
  sources = new Map(); // name -> { state, reason, since, lag_ms, rows, rate, rates, subscriptions }
  refused = ""; // why there are no counts
  unknown = ""; // why there are no states
  #listeners = new Set();
  #before = new Map(); // name -> { at, changes }
  #unsubscribe = null;
  #tells = false; // the service has source_status

  constructor(app) {
    this.app = app;
  }

  // `hear()` is called after every change; returns what ends it
  listen(hear) {
    this.#listeners.add(hear);
    return () => this.#listeners.delete(hear);
  }

  begin(schema) {
    for (const name of schema.sources.keys()) {
      if (!this.sources.has(name)) this.sources.set(name, { state: null, rates: [] });
    }
    for (const name of this.sources.keys()) if (!schema.sources.has(name)) this.sources.delete(name);
    this.#unsubscribe?.();
    this.#tells = schema.tellsStatus;
    if (this.#tells) this.#follow();
    else this.#unsubscribe = every(STATES_MS, () => this.#health());
  }

  // The counts are asked for as long as somebody looks at them
  count() {
    return every(COUNTS_MS, () => this.#counts());
  }

  // Those that do not show what is so
  troubled() {
    return [...this.sources].filter(([, { state }]) => state === "STALE" || state === "FAILED").map(([name]) => name);
  }

  #tell() {
    this.#listeners.forEach((hear) => hear());
  }

  #set(name, told) {
    const known = this.sources.get(name);
    if (known) Object.assign(known, told);
  }

  #follow() {
    this.#unsubscribe = this.app.client.subscribe(SUBSCRIPTION, {}, {
      next: ({ source_status: told }) => {
        this.#set(told.source, { ...told, since: Date.parse(told.since) / 1000 });
        this.unknown = "";
        this.#tell();
      },
      error: () => {
        this.#unsubscribe = every(STATES_MS, () => this.#health());
      },
    });
  }

  async #health() {
    try {
      const { sources } = await (await fetch(this.app.address("health"))).json();
      for (const [name, told] of Object.entries(sources)) this.#set(name, told);
      this.unknown = "";
    } catch {
      this.unknown = "/health can't be reached";
    }
    this.#tell();
  }

  async #counts() {
    const { actors, refused } = await this.app.actors("source");
    this.refused = refused;
    const at = performance.now();
    for (const { details } of actors) {
      const before = this.#before.get(details.source);
      const known = this.sources.get(details.source);
      if (!known) continue;
      if (before && details.changes >= before.changes) {
        known.rate = ((details.changes - before.changes) * 1000) / (at - before.at);
        known.rates = [...known.rates, known.rate].slice(-MOST_RATES);
      }
      this.#before.set(details.source, { at, changes: details.changes });
      Object.assign(known, { rows: details.rows, subscriptions: details.subscriptions, relation: details.relation, lag_ms: details.lag_ms ?? known.lag_ms });
    }
    if (refused) {
      for (const known of this.sources.values()) known.rows = known.rate = known.subscriptions = null;
      if (this.#tells) await this.#lags();
    }
    this.#tell();
  }

  async #lags() {
    try {
      const { source_status: told } = await this.app.client.request(LAGS);
      for (const { source, lag_ms } of told) this.#set(source, { lag_ms });
    } catch {
      for (const known of this.sources.values()) known.lag_ms = null;
    }
  }
}
