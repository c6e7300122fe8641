// Shows /openapi.json. Text from the document enters the page as text, never as markup.
"use strict";

/** An element with attributes and children; strings become text. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

/** The little Markdown that the document uses: paragraphs, `code`, **strong**, *emphasis*. */
function prose(text) {
  const tags = { "`": "code", "**": "strong", "*": "em" };
  const inline = (part) => {
    const found = /^(`|\*\*|\*)(.+)\1$/.exec(part);
    return found ? element(tags[found[1]], {}, found[2]) : part;
  };
  const pieces = (paragraph) => paragraph.split(/(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*)/).map(inline);
  return (text || "").split("\n\n").map((paragraph) => element("p", {}, pieces(paragraph)));
}

const nameOf = (reference) => reference.slice(reference.lastIndexOf("/") + 1);

function resolve(api, value) {
  if (!value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key], api);
}

/** A schema in one line. */
function inShort(schema) {
  if (schema === undefined) return [];
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return [element("a", { href: `#schema-${name}` }, name)];
  }
  const parts = [];
  const say = (part) => parts.push(parts.length ? ", " : "", part);
  if (schema.type === "array") say(["array of ", ...inShort(schema.items)]);
  else if (schema.type) say([].concat(schema.type).join(" or "));
  if (schema.format) say(schema.format);
  if ("const" in schema) say(element("code", {}, JSON.stringify(schema.const)));
  if (schema.enum) schema.enum.forEach((value) => say(element("code", {}, String(value))));
  for (const key of ["minLength", "maxLength", "minItems", "maxItems", "minimum", "exclusiveMinimum", "exclusiveMaximum"]) {
    if (key in schema) say(`${key} ${schema[key]}`);
  }
  if (schema.pattern) say(["matches ", element("code", {}, schema.pattern)]);
  for (const key of ["allOf", "anyOf", "oneOf"]) {
    if (schema[key]) say([`${key === "allOf" ? "all" : "one"} of: `, ...schema[key].flatMap((one, at) => [at ? "; " : "", ...inShort(one)])]);
  }
  if (!schema.type && schema.properties) {
    Object.entries(schema.properties).forEach(([name, value]) => say([`${name} `, ...inShort(value)]));
  }
  return parts.flat(Infinity);
}

function fields(schema) {
  if (!schema.properties) return element("p", {}, inShort(schema));
  const required = new Set(schema.required || []);
  const rows = Object.entries(schema.properties).flatMap(([name, value]) => [
    element("dt", {}, element("code", {}, name), required.has(name) ? " required" : "", " ", element("span", { class: "faint" }, inShort(value))),
    value.description ? element("dd", {}, prose(value.description)) : null,
  ]);
  return element("dl", {}, rows);
}

function parameters(api, operation) {
  const rows = (operation.parameters || []).map((given) => {
    const parameter = resolve(api, given);
    return [
      element("dt", {}, element("code", {}, parameter.name), ` in ${parameter.in}`, parameter.required ? ", required" : ""),
      element("dd", {}, prose(parameter.description), element("span", { class: "faint" }, inShort(parameter.schema))),
    ];
  });
  return rows.length ? [element("h3", {}, "Parameters"), element("dl", {}, rows.flat())] : [];
}

function requestBody(operation) {
  if (!operation.requestBody) return [];
  const kinds = Object.entries(operation.requestBody.content).map(([media, { schema }]) =>
    element("p", {}, element("code", {}, media), " ", inShort(schema)));
  return [element("h3", {}, "Body"), prose(operation.requestBody.description), kinds];
}

function responses(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const contents = Object.values(response.content || {});
    const details = contents.flatMap(({ schema }) => inShort(schema.allOf ? schema.allOf[1].properties.code : schema));
    const names = Object.keys(response.headers || {});
    return [
      element("dt", { class: status < 300 ? "good" : "bad" }, status, " ", element("span", { class: "faint" }, response.description)),
      element("dd", {}, details, element("div", { class: "faint" }, names.length ? `headers: ${names.join(", ")}` : "")),
    ];
  });
  return [element("h3", {}, "Answers"), element("dl", {}, rows.flat())];
}

function labelled(text, input) {
  return element("label", {}, text, input);
}

/** A form that sends the request and shows the answer as it came. */
function trial(api, path, method, operation) {
  const inPath = (operation.parameters || []).map((given) => resolve(api, given)).filter((one) => one.in === "path");
  const inputs = inPath.map((one) => [one.name, element("input", { value: (resolve(api, one.schema).examples || [""])[0] })]);
  const authorization = element("input", { placeholder: "Bearer …", autocomplete: "off" });
  const content = operation.requestBody ? operation.requestBody.content : {};
  const media = element("select", {}, Object.keys(content).map((name) => element("option", {}, name)));
  const body = element("textarea", { spellcheck: "false" });
  const example = () => {
    const value = (content[media.value] || {}).example;
    const lines = media.value.endsWith("ndjson") ? value.map((item) => JSON.stringify(item)).join("\n") : JSON.stringify(value, null, 2);
    body.value = lines;
  };
  if (operation.requestBody) example();
  media.addEventListener("change", example);
  const answer = element("pre", { hidden: "", "aria-live": "polite" });
  const send = element("button", { type: "button" }, "Send");
  send.addEventListener("click", async () => {
    const url = inputs.reduce((at, [name, input]) => at.replace(`{${name}}`, encodeURIComponent(input.value)), path);
    const request = { method: method.toUpperCase(), headers: {} };
    if (authorization.value) request.headers.authorization = authorization.value;
    if (operation.requestBody) {
      request.headers["content-type"] = media.value;
      request.body = body.value;
    }
    answer.hidden = false;
    answer.textContent = "…";
    send.disabled = true;
    try {
      const response = await fetch(url, request);
      const shown = ["content-type", "x-request-id", "retry-after"].filter((name) => response.headers.has(name));
      const head = shown.map((name) => `${name}: ${response.headers.get(name)}`).join("\n");
      const text = await response.text();
      let pretty = text;
      try { pretty = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it came */ }
      answer.textContent = `${response.status} ${response.statusText}\n${head}\n\n${pretty}`;
    } catch (error) {
      answer.textContent = `no answer: ${error.message}`;
    } finally {
      send.disabled = false;
    }
  });
  return element("details", {},
    element("summary", {}, "Try it"),
    inputs.map(([name, input]) => labelled(name, input)),
    labelled("authorization", authorization),
    operation.requestBody ? [labelled("content-type", media), labelled("body", body)] : [],
    send, answer);
}

function operationSection(api, path, method, operation) {
  return element("section", { id: operation.operationId },
    element("h2", {}, element("span", { class: "method" }, method.toUpperCase()), " ", element("span", { class: "path" }, path)),
    element("p", {}, element("strong", {}, operation.summary)),
    prose(operation.description),
    parameters(api, operation), requestBody(operation), responses(operation),
    trial(api, path, method, operation));
}

function securitySection(api) {
  const rows = Object.values(api.components.securitySchemes).flatMap((scheme) => [
    element("dt", {}, element("code", {}, scheme.name || `authorization: ${scheme.scheme}`)),
    element("dd", {}, prose(scheme.description)),
  ]);
  return element("section", { id: "credentials" }, element("h2", {}, "Credentials"),
    element("p", {}, "A signature (the three webhook headers), or an API key."), element("dl", {}, rows));
}

function show(api) {
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationSection(api, path, method, operation)));
  const schemas = Object.entries(api.components.schemas).map(([name, schema]) =>
    element("section", { id: `schema-${name}` }, element("h2", {}, name), prose(schema.description), fields(schema)));
  document.getElementById("content").replaceChildren(
    ...prose(api.info.description), ...operations, securitySection(api), ...schemas);
}

fetch("/openapi.json").then((response) => response.json()).then(show).catch((error) => {
  document.getElementById("content").textContent = `The contract could not be read: ${error.message}`;
});
