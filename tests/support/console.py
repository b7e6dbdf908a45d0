"""The console as a person uses it: what is seen, pressed and typed in headless Chromium."""

from __future__ import annotations

import json
from typing import Any

from tests.support.browser import Page

KEYS = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowDown": 40, "Backspace": 8}
MODIFIERS = {"Control": 2}

# Helpers in the page: `seen` are the elements of a selector that are there to be seen, `named` those of a name
HELPERS = """
window.t = {
  seen: (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility()),
  name: (one) => one.getAttribute('aria-label') ?? one.labels?.[0]?.firstChild.textContent ?? one.textContent.trim(),
  named: (selector, name) => t.seen(selector).filter((one) => t.name(one) === name),
  rows: () => t.seen('.grid tbody tr:not(.space)').map((row) => [...row.cells].map((cell) => cell.textContent)),
};
true
"""


class Console:
    """One page with the console. Names are those that a screen reader says."""

    def __init__(self, page: Page, port: int) -> None:
        self.page = page
        self.base = f"http://127.0.0.1:{port}"

    async def open(self, where: str = "/") -> None:
        """Load it, and wait until it is connected and knows the schema."""
        await self.page.open(self.base + where)
        await self.ready()

    async def ready(self) -> None:
        """After the page has been loaded."""
        await self.page.until("document.querySelector('#state')?.textContent === 'live'")
        await self.page.ask(HELPERS)
        await self.page.until("document.querySelector('#view-sources .card') !== null")

    async def ask(self, expression: str) -> Any:
        return await self.page.ask(expression)

    async def until(self, expression: str) -> None:
        await self.page.until(expression)

    async def see(self, text: str) -> None:
        """Wait until the text is on the page, to be seen."""
        await self.until(f"document.body.innerText.includes({json.dumps(text)})")

    async def show(self, view: str) -> None:
        """Go to a view by its link."""
        await self.press(view, "nav a")
        await self.until(f"t.named('nav a', {json.dumps(view)})[0].getAttribute('aria-current') === 'page'")

    async def press(self, name: str, selector: str = "button", which: int = 0) -> None:
        """Press a button, or what else the selector finds, once it is there and can be pressed."""
        found = f"t.named({json.dumps(selector)}, {json.dumps(name)})[{which}]"
        await self.until(f"{found} !== undefined && !{found}.disabled")
        await self.ask(f"{found}.click()")

    async def choose(self, name: str, value: str, which: int = 0) -> None:
        """Choose in a select."""
        found = f"t.named('select', {json.dumps(name)})[{which}]"
        await self.until(f"{found} !== undefined")
        await self.ask(f"{found}.value = {json.dumps(value)}; {found}.dispatchEvent(new Event('change'))")

    async def fill(self, name: str, text: str, which: int = 0) -> None:
        """Write into a field in place of what is there, and leave it."""
        found = f"t.named('input, textarea', {json.dumps(name)})[{which}]"
        await self.until(f"{found} !== undefined")
        await self.ask(f"{found}.focus(); {found}.select()")
        if text:
            await self.page.call("Input.insertText", text=text)
        else:
            await self.key("Backspace")
        await self.ask("document.activeElement.blur()")

    async def write(self, document: str) -> None:
        """Write a document into the editor, and stay there."""
        await self.fill("GraphQL document", document)
        await self.ask("t.named('textarea', 'GraphQL document')[0].focus()")

    async def key(self, key: str, modifier: str | None = None) -> None:
        """Press a key where the focus is; a letter is typed."""
        code = KEYS.get(key, ord(key.upper()) if len(key) == 1 else 0)
        event: dict[str, Any] = {
            "key": key,
            "windowsVirtualKeyCode": code,
            "modifiers": MODIFIERS.get(modifier or "", 0),
        }
        if len(key) == 1 and modifier is None:
            event["text"] = key
        elif key == "Enter" and modifier is None:
            event["text"] = "\r"
        await self.page.call("Input.dispatchKeyEvent", type="keyDown", **event)
        await self.page.call("Input.dispatchKeyEvent", type="keyUp", **event)

    async def rows(self) -> list[list[str]]:
        """The texts of the rows that are drawn."""
        found: list[list[str]] = await self.ask("t.rows()")
        return found

    async def until_rows(self, *rows: list[str]) -> None:
        """Wait until exactly these are drawn."""
        wanted = json.dumps(json.dumps(list(rows), separators=(",", ":"), ensure_ascii=False))
        try:
            await self.until(f"JSON.stringify(t.rows()) === {wanted}")
        except TimeoutError:
            raise AssertionError(f"rows are {await self.rows()}") from None

    async def unnamed(self) -> list[str]:
        """What can be used on the page and has no name for a screen reader, by its role."""
        tree = (await self.page.call("Accessibility.getFullAXTree"))["nodes"]
        roles = {
            "button",
            "textbox",
            "combobox",
            "link",
            "checkbox",
            "searchbox",
            "spinbutton",
            "listbox",
            "region",
            "table",
        }
        found = [node for node in tree if not node.get("ignored") and node["role"]["value"] in roles]
        assert found
        return [node["role"]["value"] for node in found if not node.get("name", {}).get("value")]
