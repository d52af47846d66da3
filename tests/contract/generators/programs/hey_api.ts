// What a program does with the client that @hey-api/openapi-ts made.

import { accounts, check, entries, key, ledger, url } from "./checking.js";
import { client } from "./hey_api/client.gen.js";
import {
  getOperation,
  listAccounts,
  listEvents,
  listKeys,
  listLedgers,
  listProjections,
  openAccount,
  openLedger,
  postTransaction,
} from "./hey_api/sdk.gen.js";
import type { WebhookMessage } from "./hey_api/types.gen.js";

client.setConfig({ baseUrl: url, auth: key, querySerializer: { object: { style: "form", explode: true } } });
const path = { ledger };

// Metadata come back as they were sent, and are found by.
const opened = await openLedger({ body: { name: ledger, metadata: { region: "eu" } } });
check(opened.data?.metadata["region"] === "eu", "the ledger's metadata are lost");
let position = 0;
for (const body of accounts) {
  const { data } = await openAccount({ path, body });
  check(data?.metadata["customer"] === body.metadata.customer, "the account's metadata are lost");
  position = data.position;
}
const found = await listAccounts({
  path,
  query: { min_position: position, metadata: { "metadata.customer": "42" }, status: "open" },
});
check(found.data?.data.map((account) => account.address).join() === "users:bob", "the filter finds others");

// A transfer, and one that is refused.
const send = (key: string, amount: number) =>
  postTransaction({ path, headers: { "Idempotency-Key": key }, body: { entries: entries(amount) } });
const posted = await send("order-1", 5_000);
check(posted.data && "entries" in posted.data && posted.data.status === "posted", "it is not posted");
const refused = await send("order-2", 1);
check(refused.error?.code === "insufficient_funds" && refused.error.shortfall === 1, "it is not refused");

// What became of each: the state selects the form.
const done = await getOperation({ path: { ledger, key: "order-1" } });
check(done.data?.state === "completed" && done.data.completed_at === posted.data.recorded_at, "it is not completed");
const rejected = await getOperation({ path: { ledger, key: "order-2" } });
check(rejected.data?.state === "rejected" && rejected.data.problem.shortfall === 1, "it is not rejected");

// Events by type, in the list and as messages to a webhook.
const events = await listEvents({ path, query: { min_position: posted.data.position } });
const balances: number[] = [];
for (const event of events.data?.data ?? [])
  if (event.type === "transaction.posted")
    balances.push(...(event.payload?.entries ?? []).map((entry) => entry.balance_after));
check(balances.join() === "-5000,5000", `the events tell other balances: ${balances}`);

export const told = (message: WebhookMessage): string =>
  message.type === "transaction.rejected" ? message.data.payload.code : message.subject;

// Other lists.
for (const { data } of [await listLedgers(), await listKeys({ query: { state: "active" } }), await listProjections()])
  check(data && data.data.length > 0, "a list is empty");
console.log("done");
