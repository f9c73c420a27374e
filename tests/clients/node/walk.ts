// A walk with openapi-fetch on the types that openapi-typescript makes: sign up, pay, read, be refused.
import createClient from "openapi-fetch";
import type { components, paths } from "./bank.js";

declare const process: { argv: string[]; exit(code: number): never };

type Account = components["schemas"]["AccountOut"];

const LARGEST = Number.MAX_SAFE_INTEGER;
const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

function check(holds: boolean, what: string): asserts holds {
  if (!holds) {
    console.error(what);
    process.exit(1);
  }
}

function given<T>(answer: { data?: T; error?: unknown }): T {
  check(answer.data !== undefined, JSON.stringify(answer.error));
  return answer.data;
}

async function open(): Promise<Account> {
  return given(await client.POST("/api/v1/accounts", { body: { type: "checking", currency: "EUR" } }));
}

const login = { email: "typescript@example.test", password: "correct horse battery staple" };
given(await client.POST("/api/v1/users", { body: login }));
const session = given(await client.POST("/api/v1/sessions", { body: login }));
client.use({
  onRequest({ request }) {
    request.headers.set("Authorization", `Bearer ${session.access_token}`);
    return request;
  },
});

const rich = await open();
const poor = await open();
const state: "active" | "frozen" | "closed" = rich.status;
check(state === "active", "the new account is not active");
given(
  await client.POST("/api/v1/simulations/deposits", {
    body: { account_id: rich.id, amount: LARGEST, currency: rich.currency },
  }),
);
const payment = { from_account_id: rich.id, to_account_id: poor.id, amount: LARGEST - 1 };
const paid = given(
  await client.POST("/api/v1/transfers", {
    params: { header: { "Idempotency-Key": "rent" } },
    body: payment,
  }),
);
check(paid.amount === LARGEST - 1 && paid.balance_after === 1, "an amount was not kept exactly");
const refused = await client.POST("/api/v1/transfers", { body: payment });
check(refused.error?.code === "insufficient_funds", "paid twice");

let cursor: string | null = null;
let seen = 0;
do {
  const page: components["schemas"]["TransferPage"] = given(
    await client.GET("/api/v1/transfers", {
      params: { query: cursor === null ? { limit: 1 } : { limit: 1, cursor } },
    }),
  );
  seen += page.items.length;
  cursor = page.next_cursor;
} while (cursor !== null);
check(seen === 2, `${seen} transfers`);
