// The data: the first page's in the document, all else in script files that are added on demand,
// since a page opened from disk may not read files in any other way.

const overview = JSON.parse(document.getElementById("overview").textContent);
const FILE = /^data\/(episodes|texts|figures|t\d+)\.js$/;
const MOST_FILES = 12; // of turns, kept unpacked

function checkedFile(path) {
  if (!FILE.test(path)) throw new TypeError(`not a file of this report: ${path}`);
  return path;
}

const fileRule = window.trustedTypes
  ? window.trustedTypes.createPolicy("agemem-data", { createScriptURL: checkedFile })
  : { createScriptURL: checkedFile };

const delivered = new Map(); // what files have handed over and nobody has unpacked yet
const loaded = new Map(); // promises, by name

Object.defineProperty(window, "agememData", {
  value: (name, packed) => { delivered.set(String(name), String(packed)); },
});

function load(name) {
  let promise = loaded.get(name);
  if (promise) {
    loaded.delete(name); // the latest used comes last
  } else {
    promise = fetched(name).then(unpacked);
    promise.catch(() => loaded.delete(name)); // so that it can be tried again
  }
  loaded.set(name, promise);
  const old = [...loaded.keys()].filter((key) => key[0] === "t" && key !== "texts");
  for (const key of old.slice(0, Math.max(0, old.length - MOST_FILES))) loaded.delete(key);
  return promise;
}

function fetched(name) {
  return new Promise((resolve, reject) => {
    const path = `data/${name}.js`;
    const script = document.createElement("script");
    const end = (error) => {
      const packed = delivered.get(name);
      delivered.delete(name);
      script.remove();
      if (packed === undefined) reject(new Error(error));
      else resolve(packed);
    };
    script.addEventListener("load", () => end(`The file ${path} holds no data: write the report again.`));
    script.addEventListener("error", () => end(`The file ${path} is missing: keep index.html and data/ together.`));
    script.src = fileRule.createScriptURL(path);
    document.head.append(script);
  });
}

async function unpacked(packed) {
  if (!window.DecompressionStream) {
    throw new Error("This browser cannot unpack the data: use Chrome 80, Firefox 113, Safari 16.4 or later.");
  }
  const text = atob(packed), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// --- the table of episodes, a column at a time -------------------------------------------------

class Episodes {
  constructor(columns) {
    this.n = columns.n;
    this.words = new Map(Object.entries(columns.words));
    this.numbers = new Map(Object.entries(columns.numbers));
    this.byId = new Map();
    for (let i = 0; i < this.n; i++) this.byId.set(this.name(i), i);
  }

  word(name, i) {
    const column = this.words.get(name);
    return column.texts[column.codes[i]];
  }

  number(name, i) {
    return this.numbers.get(name)[i];
  }

  // What an address calls an episode: two runs may hold the same one.
  name(i) {
    const run = this.number("run", i);
    return run ? `${this.word("id", i)}@${run + 1}` : this.word("id", i);
  }

  runName(i) {
    return overview.runs[this.number("run", i)];
  }

  // What is the same for episodes that one may set side by side.
  taskKey(i) {
    return JSON.stringify([this.word("env", i), this.word("split", i), this.word("task", i)]);
  }

  same(i) {
    if (!this.byTask) {
      this.byTask = new Map();
      for (let k = 0; k < this.n; k++) {
        const key = this.taskKey(k);
        if (!this.byTask.has(key)) this.byTask.set(key, []);
        this.byTask.get(key).push(k);
      }
    }
    return this.byTask.get(this.taskKey(i)).filter((k) => k !== i);
  }

  // The same episode in the other run: of the same memory and model, or of the only other ones.
  counterpart(i) {
    this.found = this.found || new Map();
    if (!this.found.has(i)) {
      const names = ["seed", "repeat", "order_seed"];
      const others = this.same(i).filter((k) => this.number("run", k) !== this.number("run", i)
        && names.every((name) => this.number(name, k) === this.number(name, i)));
      const alike = others.filter((k) => ["memory", "model"].every((name) => this.word(name, k) === this.word(name, i)));
      this.found.set(i, alike.length === 1 ? alike[0] : others.length === 1 ? others[0] : null);
    }
    return this.found.get(i);
  }

  // How an episode fared against its counterpart.
  against(i) {
    const k = this.counterpart(i);
    if (k === null) return "none";
    const [own, other] = [this.number("success", i), this.number("success", k)];
    if (missing(own) || missing(other)) return "no score";
    return own === other ? "same" : own > other ? "only here" : "only there";
  }

  // The words by which one tells two episodes of one task apart.
  label(i) {
    const parts = [this.word("memory", i), this.word("model", i)];
    if (overview.runs.length > 1) parts.unshift(this.runName(i));
    if (this.number("repeat", i)) parts.push(`repeat ${this.number("repeat", i)}`);
    if (!missing(this.number("order_seed", i))) parts.push(`order ${this.number("order_seed", i)}`);
    return parts.join(" · ");
  }

  async texts() {
    const texts = await load("texts");
    for (const [name, column] of Object.entries(texts)) this.words.set(name, column);
  }
}

let episodesPromise = null;

function episodes() {
  episodesPromise = episodesPromise || load("episodes").then((columns) => new Episodes(columns));
  return episodesPromise;
}

// An episode's turns, and what its memory held when it began.
async function turnsOf(table, i) {
  const chunk = await load(`t${table.number("file", i)}`);
  const place = table.number("place", i), own = chunk.episodes[place];
  const memory = new Map(chunk.initial.map(([id, text, labels]) => [id, { text, labels }]));
  for (const before of chunk.episodes.slice(0, place)) {
    if (before.carries) for (const turn of before.turns || []) applyMemory(memory, turn);
  }
  return { ...own, memory };
}
