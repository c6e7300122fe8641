// Shows /openapi.json: sending one message first, then the rest. What comes from the contract or from an answer
// enters the page as text, never as markup. Nothing is sent before somebody presses Send, and nothing is stored.
"use strict";

/** The operations that stand first, in this order. Others of the contract follow. */
const ORDER = ["postMessage", "postBatch", "postWebhook", "getWebhook", "postWebhookWithSecret", "getWebhookWithSecret", "closeDialog"];
const METHODS = ["get", "put", "post", "delete", "patch"];
const LIMITS = ["minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"];
const HEADERS_SHOWN = ["content-type", "x-request-id", "retry-after", "accept-encoding"];

const NONE = "The contract names none.";
const REFUSED = "Not kept. Put right what `code` names: until then the same request is refused every time.";
const NOT_KNOWN = "**Not known** whether it is kept. Send the same again, with the same ids, after `Retry-After` seconds; " +
  "without this header after a pause that doubles each time.";
const ADVICE = {
  401: "Not kept. Sign the request, or show an API key.",
  408: "Not kept. Send the same again, over a new connection.",
  429: "Not kept, but nothing is wrong with it. Send the same again after `Retry-After` seconds.",
  503: NOT_KNOWN,
};

/** The ways to prove who sends: what each is called, and what its commands need. */
const CREDENTIALS = {
  signature: ["a signature", "Put the producer's secret (`whsec_…`) into the variable `TELEX_SECRET`. A server that knows many secrets also needs the header `x-telex-producer`."],
  key: ["an API key", "Put the producer's API key into the variable `TELEX_API_KEY`."],
  none: ["none", "Only a server for development takes requests without credentials."],
  provider: ["the provider's", "The hook says how its provider signs. These commands do not sign."],
};

// Elements

/** An element with attributes and children; strings become text. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** The little Markdown that the contract uses: paragraphs, `code`, **strong**, *emphasis*. */
function prose(text) {
  const tags = { "`": "code", "**": "strong", "*": "em" };
  const inline = (part) => {
    const found = /^(`|\*\*|\*)(.+)\1$/.exec(part);
    return found ? element(tags[found[1]], {}, found[2]) : part;
  };
  const pieces = (paragraph) => paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*)/).map(inline);
  return text ? text.split("\n\n").map((paragraph) => element("p", {}, pieces(paragraph))) : [];
}

const link = (id, text) => element("a", { href: `#${id}` }, text);
const labelled = (text, input) => element("label", {}, text, input);
const words = (names) => names.flatMap((name) => [" ", element("code", {}, name)]);

/** What can be opened and closed. */
function folded(isOpen, title, ...children) {
  return element("details", isOpen ? { open: "" } : {}, element("summary", {}, title), children);
}

/** Names with what is said about each. */
function list(rows) {
  if (!rows.length) return NONE;
  return element("dl", {}, rows.map(([name, remark, description]) => [
    element("dt", {}, element("code", {}, name), " ", element("span", { class: "faint" }, remark)),
    description ? element("dd", {}, prose(description)) : null,
  ]));
}

function statusTable(rows) {
  if (!rows.length) return NONE;
  const head = element("tr", {}, ["Status", "Meaning"].map((title) => element("th", { scope: "col" }, title)));
  const row = ([status, ...meaning]) =>
    element("tr", {}, element("th", { scope: "row" }, status), element("td", {}, meaning));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, rows.map(row)));
}

// The contract, any part of which may be missing

function resolve(api, value) {
  if (!value?.$ref) return value || {};
  return value.$ref.slice(2).split("/").reduce((at, key) => at?.[key], api) || {};
}

function operationsOf(api) {
  const all = Object.entries(api.paths || {}).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const operation = item[method];
      const id = operation.operationId || `${method} ${path}`;
      return {
        id, path,
        method: method.toUpperCase(),
        title: operation.summary || id,
        description: operation.description,
        security: operation.security || api.security || [],
        parameters: (operation.parameters || []).map((parameter) => ({ name: "?", ...resolve(api, parameter) })),
        bodyDescription: operation.requestBody?.description,
        content: operation.requestBody?.content || {},
        responses: Object.entries(operation.responses || {}).map(([status, response]) => [status, resolve(api, response)]),
      };
    }));
  const first = ORDER.flatMap((id) => all.filter((operation) => operation.id === id));
  return [...first, ...all.filter((operation) => !ORDER.includes(operation.id))];
}

const inPlace = (operation, place) => operation.parameters.filter((parameter) => parameter.in === place);
const takes = (operation, scheme) => operation.security.some((way) => scheme in way);

/** The codes that a refusal may hold. */
function codesOf(response) {
  const schemas = Object.values(response.content || {}).map(({ schema }) => schema || {});
  return schemas.flatMap((schema) => schema.allOf || [schema]).flatMap((part) => part.properties?.code?.enum || []);
}

/** The refusals of these operations, each with the number of operations that may answer so. */
function refusalsOf(operations) {
  const found = new Map();
  for (const [status, response] of operations.flatMap(({ responses }) => responses)) {
    for (const code of codesOf(response)) {
      const key = `${status} ${code}`;
      if (!found.has(key)) found.set(key, { key, status, code, title: response.description || "", count: 0 });
      found.get(key).count += 1;
    }
  }
  return [...found.values()];
}

/** A value to begin with. */
const exampleOf = (api, schema, otherwise) => resolve(api, schema).examples?.[0] ?? otherwise;

/** A value as a body of this media type. */
function bodyText(media, value) {
  if (media.endsWith("ndjson")) return [].concat(value).map((item) => JSON.stringify(item)).join("\n");
  if (media.endsWith("urlencoded")) return new URLSearchParams(value).toString();
  return JSON.stringify(value, null, 2);
}

// Schemas and answers in words

const nameOf = (schema) => schema?.$ref?.slice(schema.$ref.lastIndexOf("/") + 1);

/** A schema in one line. */
function inShort(schema) {
  if (!schema) return [];
  if (schema.$ref) return [link(`schema-${nameOf(schema)}`, nameOf(schema))];
  const parts = [];
  const say = (part) => parts.push(parts.length ? ", " : "", part);
  if (schema.type === "array") say(["array of ", ...inShort(schema.items)]);
  else if (schema.type) say([].concat(schema.type).join(" or "));
  if (schema.format) say(schema.format);
  if ("const" in schema) say(element("code", {}, JSON.stringify(schema.const)));
  if (schema.enum) schema.enum.forEach((value) => say(element("code", {}, String(value))));
  for (const key of LIMITS) if (key in schema) say(`${key} ${schema[key]}`);
  // A long pattern is for machines: they have openapi.json.
  if (schema.pattern?.length < 40) say(["matches ", element("code", {}, schema.pattern)]);
  for (const key of ["allOf", "anyOf", "oneOf"]) {
    if (schema[key]) say([`${key === "allOf" ? "all" : "one"} of: `, ...schema[key].flatMap((one, at) => [at ? "; " : "", ...inShort(one)])]);
  }
  if (!schema.type && schema.properties) {
    Object.entries(schema.properties).forEach(([name, value]) => say([`${name} `, ...inShort(value)]));
  }
  return parts.length ? parts.flat(Infinity) : ["anything"];
}

/** The fields of an object, those that are required first. */
function fields(schema) {
  if (!schema.properties) return element("p", {}, inShort(schema));
  const required = schema.required || [];
  const oneOf = (schema.oneOf || []).flatMap((one) => one.required || []);
  const role = (name) => {
    if (required.includes(name)) return "required, ";
    return oneOf.includes(name) ? `required if there is no ${oneOf.filter((other) => other !== name).join(", ")}, ` : "";
  };
  const names = [...new Set([...required, ...oneOf, ...Object.keys(schema.properties)])];
  return list(names.map((name) => {
    const field = schema.properties[name];
    return [name, [role(name), inShort(field)], field?.description];
  }));
}

function schemaSection(api, name, heading) {
  const schema = resolve(api, { $ref: `#/components/schemas/${name}` });
  return element("div", { id: `schema-${name}` }, element(heading, {}, name), fields(schema), prose(schema.description));
}

/** The schemas that a request's body is made of. */
function bodySchemas(operation) {
  return [...new Set(Object.values(operation.content).map(({ schema }) => nameOf(schema)).filter(Boolean))];
}

function requestBody(api, operation) {
  const media = Object.keys(operation.content);
  if (!media.length) return [];
  return [
    element("h3", {}, "Body"),
    element("p", {}, media.flatMap((name, at) => [at ? ", or " : "", element("code", {}, name)])),
    prose(operation.bodyDescription),
    bodySchemas(operation).map((name) => schemaSection(api, name, "h4")),
  ];
}

function parameterList(parameters) {
  return list(parameters.map(({ name, required, schema, description }) =>
    [name, [required ? "required, " : "", inShort(schema)], description]));
}

/** A row for each status, with its codes. */
function refusalRows(refusals) {
  return [...new Set(refusals.map(({ status }) => status))].sort().map((status) => {
    const these = refusals.filter((refusal) => refusal.status === status);
    return [status, these[0].title, words(these.map(({ code }) => code))];
  });
}

/** The answers of this operation that are not in the table for all. */
function ownAnswers(operation, common) {
  const successes = operation.responses.filter(([, response]) => !codesOf(response).length).map(([status, response]) => {
    const bodies = Object.values(response.content || {}).map(({ schema }) => schema ? [" Body: ", inShort(schema), "."] : []);
    return [status, response.description || "Not described.", bodies];
  });
  const isCommon = ({ key }) => common.some((refusal) => refusal.key === key);
  return [
    element("h3", {}, "Answers"),
    statusTable([...successes, ...refusalRows(refusalsOf([operation]).filter((refusal) => !isCommon(refusal)))]),
    element("p", {}, "Besides these, there are the ", link("answers", "common answers"), "."),
  ];
}

// Commands to copy

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curlCommand({ method, url, headers, body }, credentials) {
  const isSigned = credentials === "signature";
  const sign = `body=${quoted(body)}
id=msg_$(openssl rand -hex 12)
timestamp=$(date +%s)
key=$(printf %s "\${TELEX_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \\n')
signature=$(printf %s "$id.$timestamp.$body" |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)
`;
  const options = Object.entries(headers).map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`);
  if (isSigned) options.push('-H "webhook-id: $id"', '-H "webhook-timestamp: $timestamp"', '-H "webhook-signature: v1,$signature"');
  if (credentials === "key") options.push('-H "authorization: Bearer $TELEX_API_KEY"');
  if (body) options.push(`--data-raw ${isSigned ? '"$body"' : quoted(body)}`);
  return (isSigned ? sign : "") + [`curl -i -X ${method} ${quoted(url)}`, ...options].join(" \\\n  ");
}

function pythonCommand({ method, url, headers, body }, credentials) {
  const [imports, prove] = {
    signature: ["base64, hashlib, hmac, os, time, urllib.error, urllib.request, uuid", `
webhook_id = f"msg_{uuid.uuid4().hex}"  # the same for every attempt
timestamp = int(time.time())  # new for each attempt
key = base64.b64decode(os.environ["TELEX_SECRET"].removeprefix("whsec_"))
content = f"{webhook_id}.{timestamp}.".encode() + body
signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
headers["webhook-id"] = webhook_id
headers["webhook-timestamp"] = str(timestamp)
headers["webhook-signature"] = f"v1,{signature}"`],
    key: ["os, urllib.error, urllib.request", `
headers["authorization"] = "Bearer " + os.environ["TELEX_API_KEY"]`],
  }[credentials] || ["urllib.error, urllib.request", ""];
  // A raw string shows the body as it is; a few bodies need escapes.
  const literal = /'''|['\\]$/.test(body) ? JSON.stringify(body) : `r'''${body}'''`;
  return `import ${imports}

body = ${literal}.encode()
headers = ${JSON.stringify(headers)}${prove}
request = urllib.request.Request(${JSON.stringify(url)}, body or None, headers, method="${method}")
try:
    answer = urllib.request.urlopen(request, timeout=15)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())`;
}

function copyButton(name, source) {
  const outcome = element("span", { role: "status", class: "faint" });
  const button = element("button", { type: "button" }, `Copy ${name}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      outcome.textContent = " Copied.";
    } catch { // The browser has a clipboard for pages of TLS and localhost only.
      getSelection().selectAllChildren(source);
      outcome.textContent = " Selected: copy it with the keyboard.";
    }
  });
  return element("p", {}, button, outcome);
}

/** The form's request as commands, which follow what is typed. */
function commands(form, request, ways) {
  const options = ways.map((value) => element("option", { value }, CREDENTIALS[value][0]));
  const credentials = element("select", {}, options);
  const note = element("div", {});
  const blocks = [["curl", curlCommand], ["Python", pythonCommand]].map((block) => [...block, element("pre", {})]);
  const rewrite = () => {
    note.replaceChildren(...prose(CREDENTIALS[credentials.value][1]));
    for (const [, write, shown] of blocks) shown.textContent = write(request(), credentials.value);
  };
  form.addEventListener("input", rewrite);
  credentials.addEventListener("input", rewrite);
  rewrite();
  return [
    labelled("Credentials", credentials), note,
    blocks.map(([name, , shown]) => [shown, copyButton(name, shown)]),
    element("p", {}, "Each command sends once. The ", link("answers", "common answers"), " say when to send again."),
  ];
}

// Trying it

async function send({ method, url, headers, body }, apiKey) {
  const authorization = apiKey ? { authorization: `Bearer ${apiKey.replace(/^bearer /i, "")}` } : {};
  const response = await fetch(url, {
    method, headers: { ...headers, ...authorization }, body: body || undefined, signal: AbortSignal.timeout(15_000),
  });
  return { response, text: await response.text() };
}

/** What came back: status, what it means, headers, body. */
function answerShown(operation, { response, text }) {
  const { status, statusText, ok } = response;
  const [, told] = operation.responses.find(([name]) => name === String(status)) || [];
  const head = HEADERS_SHOWN.filter((name) => response.headers.has(name)).map((name) => `${name}: ${response.headers.get(name)}`);
  let body = text;
  try { body = JSON.stringify(JSON.parse(text), null, 2); } catch { /* Not JSON: as it came. */ }
  return [
    element("p", { class: ok ? "good" : "bad" }, element("strong", {}, `${status} ${statusText}`)),
    ...prose(ok ? told?.description : ADVICE[status] || (status < 500 ? REFUSED : NOT_KNOWN)),
    element("pre", {}, [...head, "", body].join("\n")),
  ];
}

/** A form for a request, the place of its answer, and a function that reads the request. */
function requestForm(api, operation) {
  const inPath = inPlace(operation, "path").map(({ name, schema }) =>
    [name, element("input", { value: exampleOf(api, schema, name.toUpperCase()), required: "", spellcheck: "false" })]);
  const kinds = Object.keys(operation.content);
  const media = element("select", {}, kinds.map((name) => element("option", {}, name)));
  const body = element("textarea", { spellcheck: "false", rows: "9" });
  const begin = () => {
    const { example, schema } = operation.content[media.value];
    body.value = bodyText(media.value, example ?? exampleOf(api, schema, {}));
  };
  if (kinds.length) begin();
  media.addEventListener("input", begin);
  const apiKey = element("input", { spellcheck: "false" });
  const answer = element("div", { "aria-live": "polite" });

  const request = () => ({
    method: operation.method,
    url: location.origin + inPath.reduce((path, [name, input]) => path.replace(`{${name}}`, encodeURIComponent(input.value)), operation.path),
    headers: body.value ? { "content-type": media.value } : {},
    body: body.value,
  });
  // The browser must not remember the fields: one may hold a key.
  const form = element("form", { autocomplete: "off" },
    inPath.map(([name, input]) => labelled(name, input)),
    kinds.length > 1 ? labelled("Content type", media) : null,
    kinds.length ? labelled("Body", body) : null,
    takes(operation, "apiKey") ? labelled("API key, if the server asks for one", apiKey) : null,
    element("p", { class: "faint" }, `Goes to this server, ${location.host}, which keeps what it takes.`),
    element("button", {}, "Send"));
  let isUnderWay = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isUnderWay) return;
    isUnderWay = true;
    answer.replaceChildren("Sent; waiting for the answer …");
    try {
      answer.replaceChildren(...answerShown(operation, await send(request(), apiKey.value.trim())));
    } catch (error) {
      answer.replaceChildren(element("p", { class: "bad" }, `No answer: ${error.message}`), ...prose(NOT_KNOWN));
    } finally {
      isUnderWay = false;
    }
  });
  return { form, answer, request };
}

// The page

function operationSection(api, operation, common, isFirst) {
  const { form, answer, request } = requestForm(api, operation);
  const inPath = inPlace(operation, "path");
  const ways = takes(operation, "webhookSignature") ? ["signature", "key", "none"] : ["provider"];
  return element("section", { id: operation.id },
    element("h2", {}, operation.title),
    element("p", { class: "route" }, element("strong", {}, operation.method), ` ${operation.path}`),
    prose(operation.description),
    folded(isFirst, "Try it", form, answer),
    folded(isFirst, "curl and Python", commands(form, request, ways)),
    requestBody(api, operation),
    inPath.length ? [element("h3", {}, "Path"), parameterList(inPath)] : [],
    ownAnswers(operation, common));
}

function answersSection(common, rules) {
  const rows = refusalRows(common).map(([status, ...meaning]) => [status, ...meaning, prose(ADVICE[status])]);
  rows.push(["none, 500, 502, 504", "A timeout, a broken connection, or a proxy's answer", prose(NOT_KNOWN)]);
  return element("section", { id: "answers" }, element("h2", {}, "Common answers"), rules,
    element("p", {}, "Most operations may answer with these. A 4xx without a remark means:"), prose(REFUSED),
    statusTable(rows));
}

function headersSection(api, operations) {
  const requests = new Map(operations.flatMap((operation) => inPlace(operation, "header")).map((header) => [header.name, header]));
  const answers = new Map(operations.flatMap(({ responses }) => responses)
    .flatMap(([, response]) => Object.entries(response.headers || {})));
  return element("section", { id: "headers" }, element("h2", {}, "Headers"),
    element("h3", {}, "Of requests"), parameterList([...requests.values()]),
    element("h3", {}, "Of answers"),
    parameterList([...answers].map(([name, header]) => ({ name, ...resolve(api, header), required: false }))));
}

function credentialsSection(api) {
  const schemes = Object.values(api.components?.securitySchemes || {});
  return element("section", { id: "credentials" }, element("h2", {}, "Credentials"),
    element("p", {}, "A signature (the three webhook headers), or an API key. A server for development may ask for neither."),
    list(schemes.map(({ name, scheme, description }) => [name || `authorization: ${scheme || "?"}`, [], description])));
}

function schemasSection(api, operations) {
  const shown = operations.flatMap(bodySchemas);
  const others = Object.keys(api.components?.schemas || {}).filter((name) => !shown.includes(name));
  return element("section", { id: "schemas" }, element("h2", {}, "Schemas"),
    others.length ? others.map((name) => schemaSection(api, name, "h3")) : NONE);
}

function show(api) {
  const operations = operationsOf(api);
  const common = refusalsOf(operations).filter(({ count }) => count > operations.length / 2);
  const [about, ...rules] = prose(api.info?.description);
  const sections = [
    ...operations.map((operation, at) => operationSection(api, operation, common, at === 0)),
    answersSection(common, rules), headersSection(api, operations), credentialsSection(api), schemasSection(api, operations),
  ];
  const contents = sections.map(({ id, firstChild }) => element("li", {}, link(id, firstChild.textContent)));
  document.getElementById("content").replaceChildren(
    about || "", element("nav", { "aria-label": "Contents" }, element("ul", {}, contents)),
    operations.length ? "" : "The contract names no operations.", ...sections);
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/openapi.json").then((response) => response.json()).then(show).catch((error) => {
  document.getElementById("content").textContent = `The contract could not be shown: ${error.message}`;
});
