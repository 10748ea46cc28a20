// Shows openapi.json and sends the calls that a reader fills in. It loads nothing else and keeps nothing.
"use strict";

const byId = (id) => document.getElementById(id);

/** The schema that a `$ref` names, or the schema itself. */
const resolve = (api, schema) =>
  schema?.$ref ? schema.$ref.split("/").slice(1).reduce((at, key) => at[key], api) : schema ?? {};

/** The types of a schema, the usual one first; that a field may be absent goes without saying. */
const typesOf = (schema) => [schema.type ?? []].flat().filter((type) => type !== "null");

const typeOf = (schema) =>
  schema.$ref ? schema.$ref.split(".").pop() : [typesOf(schema).join(" or "), schema.format].filter(Boolean).join(" ");

/** An example that has every field of a schema. */
function example(api, schema, depth = 0) {
  const it = resolve(api, schema);
  if (it.enum) return it.enum[0];
  const [type] = typesOf(it);
  if (type === "object" && depth < 4) {
    return Object.fromEntries(Object.entries(it.properties ?? {}).map(([name, field]) => [name, example(api, field, depth + 1)]));
  }
  if (type === "array") return [];
  if (type === "integer" || type === "number") return 0;
  if (type === "boolean") return false;
  return it.format === "int64" || it.format === "uint64" ? "0" : "";
}

function element(name, text, ...children) {
  const it = document.createElement(name);
  if (text) it.textContent = text;
  it.append(...children);
  return it;
}

/** A table of a message's fields: name, type, what it is. */
function fields(api, schema) {
  const rows = Object.entries(resolve(api, schema).properties ?? {}).map(([name, field]) =>
    element("tr", "", element("td", name), element("td", typeOf(field)), element("td", field.description ?? "")));
  return rows.length ? element("table", "", ...rows) : element("p", "No fields.");
}

async function send(event, method, path, operation) {
  event.preventDefault();
  const form = event.target;
  const output = form.querySelector("output");
  const query = new URLSearchParams();
  for (const input of form.querySelectorAll("input")) {
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(input.value));
    else if (input.value) query.set(input.name, input.value);
  }
  const token = byId("token").value.trim();
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const request = { method, headers };
  if (operation.requestBody) {
    headers["content-type"] = "application/json";
    request.body = form.querySelector("textarea").value;
  }
  output.textContent = "…";
  const start = performance.now();
  try {
    const response = await fetch(path.slice(1) + (query.size ? `?${query}` : ""), request);
    const text = await response.text();
    const trace = response.headers.get("x-trace-id");
    const head = `${response.status} ${response.statusText} · ${Math.round(performance.now() - start)} ms${trace ? ` · trace ${trace}` : ""}`;
    output.textContent = `${head}\n${pretty(text)}`;
    output.classList.toggle("failed", !response.ok);
    if (response.ok) keepToken(text);
  } catch (error) {
    output.textContent = String(error);
    output.classList.add("failed");
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Who logs in here wants to go on as that user. */
function keepToken(text) {
  try {
    byId("token").value = JSON.parse(text).accessToken || byId("token").value;
  } catch { /* not JSON, so no token */ }
}

function show(api, method, path, operation) {
  const it = byId("operation").content.cloneNode(true);
  const at = (selector) => it.querySelector(selector);
  const body = operation.requestBody?.content["application/json"].schema;
  at(".method").textContent = method.toUpperCase();
  at(".method").classList.add(method);
  at(".path").textContent = path;
  at(".summary").textContent = operation.summary ?? operation.operationId;
  at(".access").textContent = operation.security?.length ? "needs a token" : "public";
  at(".description").textContent = operation.description ?? "";
  for (const parameter of operation.parameters ?? []) {
    const input = element("input");
    input.name = parameter.name;
    input.dataset.in = parameter.in;
    input.required = parameter.required;
    at(".fields").append(element("label", `${parameter.name} (${parameter.in}, ${typeOf(parameter.schema)})`, input));
  }
  if (body) {
    at(".fields").append(fields(api, body));
    at("textarea").value = JSON.stringify(example(api, body), null, 2);
  } else {
    at(".body").hidden = true;
  }
  at(".answer").append(fields(api, operation.responses["200"].content["application/json"].schema));
  at("form").addEventListener("submit", (event) => send(event, method.toUpperCase(), path, operation));
  return it;
}

async function main() {
  const api = await (await fetch("openapi.json")).json();
  document.title = byId("title").textContent = `${api.info.title} ${api.info.version}`;
  byId("about").textContent = (api.tags ?? []).map((tag) => tag.description).join(" ");
  const all = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => show(api, method, path, operation)));
  byId("operations").append(...all);
}

main().catch((error) => { byId("operations").textContent = `openapi.json cannot be shown: ${error}`; });
