// Small helpers: elements from text alone, work once an animation frame, and calls that come too often.

export const $ = (id) => document.getElementById(id);

// An element with properties (`data` and `aria` objects included) and children
export function make(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A function that runs `work` before the next frame is drawn, however often it is called until then
export function eachFrame(work) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      work();
    });
  };
}

// A function that runs `work` at once, and then at most every `milliseconds`; the last call always counts
export function sparingly(milliseconds, work) {
  let timer = null;
  let again = false;
  const run = () => {
    timer = null;
    if (!again) return;
    again = false;
    timer = setTimeout(run, milliseconds);
    work();
  };
  return () => {
    again = true;
    if (timer === null) run();
  };
}
