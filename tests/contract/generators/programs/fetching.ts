// What a program does with the types that openapi-typescript made, by openapi-fetch.

import createClient from "openapi-fetch";
import { accounts, check, entries, key, ledger, url } from "./checking.js";
import type { components, paths } from "./tallystick.js";

// Events are also answered as lines of JSON.
const api = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: url,
  headers: { Authorization: `Bearer ${key}` },
  querySerializer: { object: { style: "form", explode: true } },
});
const path = { ledger };

// Metadata come back as they were sent, and are found by.
const opened = await api.POST("/v1/ledgers", { body: { name: ledger, metadata: { region: "eu" } } });
check(opened.data?.metadata["region"] === "eu", "the ledger's metadata are lost");
let position = 0;
for (const account of accounts) {
  const { data } = await api.POST("/v1/ledgers/{ledger}/accounts", { params: { path }, body: account });
  check(data?.metadata["customer"] === account.metadata.customer, "the account's metadata are lost");
  position = data.position;
}
const found = await api.GET("/v1/ledgers/{ledger}/accounts", {
  params: { path, query: { min_position: position, metadata: { "metadata.customer": "42" }, status: "open" } },
});
check(found.data?.data.map((account) => account.address).join() === "users:bob", "the filter finds others");

// A transfer, and one that is refused.
const send = (key: string, amount: number) =>
  api.POST("/v1/ledgers/{ledger}/transactions", {
    params: { path, header: { "Idempotency-Key": key } },
    body: { entries: entries(amount) },
  });
const posted = await send("order-1", 5_000);
check(posted.data && "entries" in posted.data && posted.data.status === "posted", "it is not posted");
const refused = await send("order-2", 1);
check(refused.error?.code === "insufficient_funds" && refused.error.shortfall === 1, "it is not refused");

// What became of each: the state selects the form.
async function outcome(of: string): Promise<string> {
  const { data, error } = await api.GET("/v1/ledgers/{ledger}/operations/{key}", {
    params: { path: { ledger, key: of } },
  });
  if (error) return error.code;
  switch (data.state) {
    case "completed":
      return data.completed_at;
    case "rejected":
      return data.problem.code;
    default:
      return data.state satisfies "accepted" | "in_progress" | "reconciling";
  }
}
check((await outcome("order-1")) === posted.data.recorded_at, "it is not completed");
check((await outcome("order-2")) === "insufficient_funds", "it is not rejected");
check((await outcome("order-3")) === "operation_unknown", "it is known");

// Events by type, in the list and as messages to a webhook.
const events = await api.GET("/v1/ledgers/{ledger}/events", {
  params: { path, query: { min_position: posted.data.position } },
});
const balances: number[] = [];
for (const event of events.data?.data ?? [])
  if (event.type === "transaction.posted")
    balances.push(...(event.payload?.entries ?? []).map((entry) => entry.balance_after));
check(balances.join() === "-5000,5000", `the events tell other balances: ${balances}`);

export function told(message: components["schemas"]["WebhookMessage"]): string {
  switch (message.type) {
    case "transaction.rejected":
      return message.data.payload.code;
    case "payout.accepted":
      return message.data.payload.provider;
    default:
      return message.subject;
  }
}

// Other lists.
for (const { data } of [
  await api.GET("/v1/ledgers"),
  await api.GET("/v1/ledgers/{ledger}/transactions", { params: { path, query: { min_position: posted.data.position } } }),
  await api.GET("/v1/keys", { params: { query: { state: "active" } } }),
  await api.GET("/v1/projections"),
])
  check(data && data.data.length > 0, "a list is empty");
console.log("done");
