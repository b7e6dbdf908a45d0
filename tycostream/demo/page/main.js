// The page: one connection, and what each panel makes of it.

import { createClient } from "/static/lib/client.js";
import { Alerts } from "./alerts.js";
import { Badge } from "./badge.js";
import { $, setText } from "./dom.js";
import * as as from "./format.js";
import { Positions } from "./positions.js";
import { Risks } from "./risk.js";
import { Trades } from "./trades.js";
import { Triggers } from "./triggers.js";

const RATE_MS = 500;
const RATE_OVER = 4; // times that long

const badge = new Badge();
const url = new URL("/graphql", location.href);
url.protocol = url.protocol.replace("http", "ws");
const client = createClient({ url: url.href, onState: (told) => badge.connection(told) });
badge.client = client;

let updates = 0;
const onUpdate = () => {
  updates += 1;
};
const counted = [0];
setInterval(() => {
  counted.push(updates);
  if (counted.length > RATE_OVER + 1) counted.shift();
  setText($("rate"), as.units(((counted.at(-1) - counted[0]) * 1000) / (RATE_MS * (counted.length - 1))));
}, RATE_MS);

const risks = new Risks(client, { onUpdate });
const trades = new Trades(client, (symbol) => positions.rows.get(symbol), { onUpdate });
const positions = new Positions(client, risks, {
  onUpdate,
  onSelect: (symbol) => trades.select(symbol),
  onRow: (symbol) => trades.moved(symbol),
});
const triggers = new Triggers(client, () => positions.selected);
new Alerts(client, { onUpdate, onAlert: () => triggers.look() });
