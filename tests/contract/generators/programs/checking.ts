// What the programs in TypeScript share: what they are called with, and how they say that something is wrong.

declare const process: { argv: string[] };

const [, , url = "", key = "", ledger = ""] = process.argv;
export { url, key, ledger };

export function check(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(what);
}

/** From Alice to Bob, in minor units. */
export const entries = (amount: number) => [
  { account: "users:alice", direction: "debit" as const, amount },
  { account: "users:bob", direction: "credit" as const, amount },
];

export const accounts = [
  { address: "users:alice", asset: "USD/2", normal_side: "credit", min_balance: -5_000, metadata: { customer: "41" } },
  { address: "users:bob", asset: "USD/2", normal_side: "credit", min_balance: 0, metadata: { customer: "42" } },
] as const;
