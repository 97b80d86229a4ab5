// A tour of the API with the client that openapi-generator's typescript-fetch generates.
import assert from "node:assert/strict";
import { AuthApi, BooksApi, Configuration, ProblemFromJSON, ResponseError } from "./fetch";
import type { Problem } from "./fetch";

const email = "ada@example.com";
const password = "correct horse battery staple";
let token = "";
const configuration = new Configuration({ basePath: process.argv[2], accessToken: () => token });
const auth = new AuthApi(configuration);
const books = new BooksApi(configuration);

async function refused(call: Promise<unknown>): Promise<Problem> {
  const error: unknown = await call.then(() => null, (reason: unknown) => reason);
  assert(error instanceof ResponseError, "was not refused");
  return ProblemFromJSON(await error.response.json());
}

const user = await auth.signup({ signup: { username: "ada", email, password } });
const tokens = await auth.login({ login: { email, password } });
assert.equal(tokens.user.uid, user.id);
token = tokens.refreshToken;
token = (await auth.rotateRefreshToken()).accessToken;

const hobbit = { title: "The Hobbit", author: "J. R. R. Tolkien", publishedDate: "1937-09-21" };
const idempotencyKey = "a-new-value-for-each-book";
const book = await books.createBook({ bookInput: hobbit, idempotencyKey });
assert.deepEqual(await books.createBook({ bookInput: hobbit, idempotencyKey }), book);
const emma = await books.createBook({ bookInput: { title: "Emma", author: "Jane Austen" } });

const page = { limit: 1, sort: "title", count: "true" } as const;
const first = await books.listBooksRaw(page);
assert.deepEqual(await first.value(), [emma]);
assert.equal(first.raw.headers.get("X-Total-Count"), "2");
const cursor = first.raw.headers.get("Link")!.match(/cursor=([^&>]+)/)![1];
assert.deepEqual(await books.listBooks({ ...page, cursor }), [book]);
assert.deepEqual(await books.listBooks({ q: "hobit" }), [book]);

const bookId = book.id;
const ifMatch = (await books.getBookRaw({ bookId })).raw.headers.get("ETag")!;
const changed = await books.updateBook({ bookId, bookUpdate: { pageCount: 310 }, ifMatch });
assert.deepEqual([changed.title, changed.pageCount], ["The Hobbit", 310]);
const stale = await refused(books.updateBook({ bookId, bookUpdate: { pageCount: 7 }, ifMatch }));
assert.equal(stale.status, 412);
assert.deepEqual(stale.current, changed);

const file = new Blob(["Title,Author\nOrlando,Virginia Woolf\n"], { type: "text/csv" });
const report = await books.importBooks({ body: file });
assert.deepEqual([report.read, report.imported], [1, 1]);
const exported = await books.exportBooks({ author: "woolf", format: "csv" });
assert.match(await exported.text(), /Orlando,Virginia Woolf/);

const misprint = { title: "Emma", author: "Jane Austen", isbn: "9780261102210" };
const wrong = await refused(books.createBook({ bookInput: misprint }));
assert.equal(wrong.type, "/problems/validation");
assert.deepEqual([wrong.errors![0].pointer, wrong.errors![0].code], ["/isbn", "check-digit"]);

await auth.deleteMe({ confirmation: { currentPassword: password } });
