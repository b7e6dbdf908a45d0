// What the keyboard does. Letters alone do nothing while a field is written in.
import { $ } from "./dom.js";

const VIEWS = { s: "sources", r: "rows", q: "graphql", t: "triggers", a: "actors" };
const NEXT_MS = 1_500; // to follow `g`

const writing = (element) => element.closest("input, textarea, select, dialog") !== null;

export class Shortcuts {
  #app;
  #went = 0; // when `g` was pressed

  constructor(app) {
    this.#app = app;
    const dialog = $("shortcuts");
    $("help").onclick = () => dialog.showModal();
    $("shut").onclick = () => dialog.close();
    addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      if (this.#app.view === this.#app.views.graphql) {
        event.preventDefault();
        this.#app.view.run();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || writing(event.target)) return;
    const follows = event.timeStamp - this.#went < NEXT_MS && this.#went > 0;
    this.#went = 0;
    if (follows && VIEWS[event.key]) {
      event.preventDefault();
      this.#app.go(VIEWS[event.key]);
    } else if (event.key === "g") this.#went = event.timeStamp;
    else if (event.key === "?") $("shortcuts").showModal();
    else if (event.key === "p") this.#app.view.togglePause?.();
    else if (event.key === "e" && this.#app.view.focus) {
      event.preventDefault();
      this.#app.view.focus();
    }
  }
}
