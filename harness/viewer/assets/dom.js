"use strict";
// Elements are made here alone, and text only ever becomes text: what a model has written is data.

function el(tag, props, ...kids) {
  return fill(document.createElement(tag), props, kids);
}

function svg(tag, props, ...kids) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), props, kids);
}

function fill(node, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") for (const [type, f] of Object.entries(value)) node.addEventListener(type, f);
    else if (name === "href" && !String(value).startsWith("#")) throw new Error("only links within the page");
    else if (name.startsWith("on")) throw new Error("listeners are given as functions");
    else if (name === "value" || name === "checked" || name === "hidden") node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  put(node, kids);
  return node;
}

function put(node, kids) {
  for (const kid of kids.flat(Infinity)) {
    if (kid === null || kid === undefined || kid === false) continue;
    node.append(kid instanceof Node ? kid : document.createTextNode(String(kid)));
  }
}

function replace(node, ...kids) {
  node.textContent = "";
  put(node, kids);
}

// The text with every place of a query marked; nodes, never markup.
function marked(text, query) {
  if (!query) return [text];
  const parts = [], lower = text.toLowerCase();
  let from = 0;
  // A case that changes the length of a text (ß, İ) would shift places: then nothing is marked.
  if (lower.length !== text.length) return [text];
  for (let at = lower.indexOf(query); at >= 0 && parts.length < 400; at = lower.indexOf(query, from)) {
    parts.push(text.slice(from, at), el("mark", { text: text.slice(at, at + query.length) }));
    from = at + query.length;
  }
  parts.push(text.slice(from));
  return parts;
}

// A name that, where it has no room, loses its middle: tasks differ by their ends.
function ends(text, props, tagName = "span") {
  const cut = Math.max(0, text.length - 8);
  return el(tagName, { ...props, class: "ends" }, el("span", { text: text.slice(0, cut) }), el("span", { text: text.slice(cut) }));
}

function announce(text) {
  document.getElementById("live").textContent = text;
}

const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

function missing(value) {
  return value === null || value === undefined || Number.isNaN(value);
}

function count(value) {
  return missing(value) ? DASH : whole.format(value);
}

function average(value) {
  return missing(value) ? DASH : (Math.abs(value) >= 1000 ? whole : tenth).format(value);
}

function share(value) {
  return missing(value) ? DASH : value.toFixed(3).replace(/^0(?=\.)/, "");
}

function percent(value) {
  return missing(value) ? DASH : `${tenth.format(100 * value)}%`;
}

function seconds(value) {
  return missing(value) ? DASH : `${value < 10 ? value.toFixed(2) : tenth.format(value)} s`;
}

function plural(n, one, many) {
  return `${whole.format(n)} ${n === 1 ? one : many || `${one}s`}`;
}

function oneLine(text, length) {
  const line = String(text).replace(/\s+/g, " ").trim();
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}
