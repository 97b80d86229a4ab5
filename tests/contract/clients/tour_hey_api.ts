// A tour of the API with the client that @hey-api/openapi-ts generates.
import assert from "node:assert/strict";
import * as api from "./hey";
import { client } from "./hey/client.gen";

const email = "ada@example.com";
const password = "correct horse battery staple";
let token = "";
client.setConfig({ baseUrl: process.argv[2], auth: () => token });

const signup = await api.signup({ body: { username: "ada", email, password }, throwOnError: true });
const login = await api.login({ body: { email, password }, throwOnError: true });
assert.equal(login.data.user.uid, signup.data.id);
token = login.data.refresh_token;
token = (await api.rotateRefreshToken({ throwOnError: true })).data.access_token;

const hobbit = {
  body: { title: "The Hobbit", author: "J. R. R. Tolkien", published_date: "1937-09-21" },
  headers: { "Idempotency-Key": "a-new-value-for-each-book" },
  throwOnError: true,
} as const;
const { data: book } = await api.createBook(hobbit);
assert.deepEqual((await api.createBook(hobbit)).data, book);
const austen = { title: "Emma", author: "Jane Austen" };
const { data: emma } = await api.createBook({ body: austen, throwOnError: true });

const query = { limit: 1, sort: "title", count: "true" } as const;
const first = await api.listBooks({ query, throwOnError: true });
assert.deepEqual(first.data, [emma]);
assert.equal(first.response.headers.get("X-Total-Count"), "2");
const cursor = first.response.headers.get("Link")!.match(/cursor=([^&>]+)/)![1];
assert.deepEqual((await api.listBooks({ query: { ...query, cursor } })).data, [book]);
assert.deepEqual((await api.listBooks({ query: { q: "hobit" } })).data, [book]);

const path = { book_id: book.id };
const headers = { "If-Match": (await api.getBook({ path })).response!.headers.get("ETag")! };
const { data: changed } = await api.updateBook({ path, headers, body: { page_count: 310 } });
assert.deepEqual([changed?.title, changed?.page_count], ["The Hobbit", 310]);
const stale = await api.updateBook({ path, headers, body: { page_count: 7 } });
assert(stale.error);
assert.equal(stale.error.status, 412);
assert.deepEqual(stale.error.current, changed);

const { data: report } = await api.importBooks({
  body: "Title,Author\nOrlando,Virginia Woolf\n" as never,  // it knows of the JSON only
  bodySerializer: null,
  headers: { "Content-Type": "text/csv" } as never,
  throwOnError: true,
});
assert.deepEqual([report.read, report.imported], [1, 1]);
const exported = await api.exportBooks({ query: { author: "woolf", format: "csv" } });
assert.match(String(exported.data), /Orlando,Virginia Woolf/);

const wrong = await api.createBook({ body: { ...austen, isbn: "9780261102210" } });
assert(wrong.error);
assert.equal(wrong.error.type, "/problems/validation");
assert.deepEqual([wrong.error.errors?.[0]?.pointer, wrong.error.errors?.[0]?.code], ["/isbn", "check-digit"]);

await api.deleteMe({ body: { current_password: password }, throwOnError: true });
