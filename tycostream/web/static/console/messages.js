// Raw messages, the newest first; so many of them as a person may want to look at.
import { el } from "./dom.js";

const MOST = 200;

export class Messages {
  #waiting = [];
  #frame = null;

  constructor() {
    this.element = el("div", { class: "scroll messages", tabIndex: 0, role: "log", "aria-label": "Messages", "aria-live": "off" });
  }

  add(data) {
    this.#push(JSON.stringify(data));
  }

  note(words) {
    this.#push(words, "muted");
  }

  #push(text, kind = "") {
    this.#waiting.push({ text, kind, at: new Date() });
    if (this.#waiting.length > MOST) this.#waiting.shift();
    this.#frame ??= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = null;
    const lines = this.#waiting.splice(0).reverse().map(({ text, kind, at }) =>
      el("div", { class: kind }, el("time", {}, at.toTimeString().slice(0, 8)), " ", text));
    this.element.prepend(...lines);
    while (this.element.childElementCount > MOST) this.element.lastChild.remove();
  }
}
