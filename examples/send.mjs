#!/usr/bin/env node
// Sends one message to Telex: signed, and sent again with the same id until it is known to be kept.
//
//   TELEX_URL=http://127.0.0.1:8080 TELEX_SECRET=whsec_… node examples/send.mjs message.json
//
// Exit status: 0 kept (202), 1 refused (sending it again changes nothing), 2 gave up.
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const ATTEMPTS_MAX = 10;
const ATTEMPT_TIMEOUT_MS = 15_000;
const WAIT_MS_MAX = 60_000;

/** Standard Webhooks, over the bytes that are sent: never over JSON that was written anew. */
function signature(secret, webhookId, timestamp, body) {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return `v1,${createHmac("sha256", key).update(`${webhookId}.${timestamp}.`).update(body).digest("base64")}`;
}

/** One request: status (0 without an answer), the milliseconds that Retry-After asks for, the answer. */
async function attempt(url, secret, webhookId, body) {
  const timestamp = Math.floor(Date.now() / 1000); // new for each attempt: it may be five minutes off at most
  const headers = {
    "content-type": "application/json",
    "webhook-id": webhookId,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": signature(secret, webhookId, timestamp, body),
  };
  if (process.env.TELEX_PRODUCER) headers["x-telex-producer"] = process.env.TELEX_PRODUCER;
  try {
    const signal = AbortSignal.timeout(ATTEMPT_TIMEOUT_MS);
    const response = await fetch(url, { method: "POST", headers, body, signal });
    const retryAfter = response.headers.get("retry-after");
    return { status: response.status, waitMs: retryAfter && Number(retryAfter) * 1000, answer: await response.text() };
  } catch (error) {
    return { status: 0, waitMs: null, answer: String(error.cause ?? error) };
  }
}

async function send(url, secret, webhookId, body) {
  for (let number = 0; number < ATTEMPTS_MAX; number += 1) {
    const { status, waitMs, answer } = await attempt(url, secret, webhookId, body);
    console.error(status, answer.trim());
    if (status === 202) return 0;
    if (status >= 400 && status < 500 && status !== 408 && status !== 429) return 1;
    // 408, 429, 5xx, or no answer: the same again. If the first one was kept, the second has no effect.
    const backoffMs = (0.5 + Math.random() / 2) * 1000 * 2 ** number;
    await sleep(Math.min(WAIT_MS_MAX, waitMs ?? backoffMs));
  }
  return 2;
}

const [path] = process.argv.slice(2);
if (!path) {
  console.error("usage: send.mjs message.json");
  process.exit(1);
}
const url = `${process.env.TELEX_URL.replace(/\/$/, "")}/v1/messages`;
const webhookId = process.env.TELEX_WEBHOOK_ID ?? `msg_${randomUUID()}`;
process.exitCode = await send(url, process.env.TELEX_SECRET, webhookId, readFileSync(path));
