// Runs the public list of audits of GraphQL over HTTP, and prints one JSON line for each.
import { serverAudits } from "graphql-http";

const [, , url] = process.argv;

for (const { fn } of serverAudits({ url })) {
  const { id, name, status, reason } = await fn();
  console.log(JSON.stringify({ id, name, status, reason }));
}
