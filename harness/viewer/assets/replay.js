// Carries out the changes that were written of an episode: what context and memory held at a turn.

const WRITES = new Set(["add", "update", "delete"]);
const GONE = {
  filter: "filtered", summary: "summarised", overflow: "dropped for room", memory: "shown anew",
  new_context: "new context", new_goal: "new goal",
};

function changesOf(turn) {
  return [...(turn.before || []), ...(turn.after || [])];
}

function applyMemory(memory, turn) {
  for (const change of changesOf(turn)) writeMemory(memory, change);
}

function writeMemory(memory, change) {
  if (change.type !== "memory" || !WRITES.has(change.op)) return;
  for (const id of change.ids) {
    if (change.op === "delete") memory.delete(id);
    else memory.set(id, { text: change.content, labels: change.metadata || (memory.get(id) || {}).labels || {} });
  }
}

class Replay {
  constructor(turns, memory) {
    this.turns = turns;
    this.memory = memory;
  }

  // Everything there is to see of turn `n`, from 0.
  frame(n) {
    let items = [];
    const memory = new Map(this.memory);
    for (let k = 0; k < n; k++) {
      items = items.filter((item) => !item.gone);
      for (const item of items) item.old = null;
      this.#run(items, this.turns[k].before, k, "before");
      this.#run(items, this.turns[k].after, k, "after");
      applyMemory(memory, this.turns[k]);
    }
    items = items.filter((item) => !item.gone);
    for (const item of items) {
      item.fresh = item.turn === n - 1 && item.phase === "after";
      item.old = null;
    }
    const turn = this.turns[n];
    this.#run(items, turn.before, n, "before");
    for (const item of items) item.fresh = item.fresh || (item.turn === n && item.phase === "before");
    this.#run(items, turn.after, n, "after");
    return { turn, items, ...this.#memoryOf(memory, turn) };
  }

  #run(items, changes, turn, phase) {
    for (const change of changes || []) {
      if (change.type === "message") {
        items.splice(placeOf(items, change.at), 0, { message: change, turn, phase, gone: null });
      } else if (change.type === "rewrite") {
        const item = items.find((one) => one.message.id === change.id);
        if (!item) continue;
        item.old = item.message.text;
        item.message = { ...item.message, text: change.text, tokens: change.tokens };
      } else if (change.type === "remove") {
        const ids = new Set(change.ids);
        for (const item of items) {
          if (!item.gone && ids.has(item.message.id)) item.gone = { why: change.reason, phase };
        }
      }
    }
  }

  // Entries after the turn, with those it deleted, and what it did to each.
  #memoryOf(memory, turn) {
    const entries = new Map(), retrievals = [];
    const entry = (id, text, labels = {}, there = false) => {
      if (!entries.has(id)) entries.set(id, { id, text, labels, ops: [], old: null, oldLabels: null, rank: 0, there });
      return entries.get(id);
    };
    for (const [id, held] of memory) entry(id, held.text, held.labels, true);
    for (const change of changesOf(turn)) {
      if (change.type !== "memory") continue;
      if (change.op === "retrieve") retrievals.push(change);
      if (change.op === "summary") continue;
      change.ids.forEach((id, place) => {
        if (change.op === "retrieve") {
          const found = entry(id, (change.contents || [])[place] || "");
          found.rank = found.rank || place + 1;
        } else if (WRITES.has(change.op)) {
          const one = entry(id, change.content);
          one.ops.push(change.op === "update" && !change.changed ? "same" : change.op);
          if (change.op === "update" && one.text !== change.content) one.old = one.old ?? one.text;
          one.there = change.op !== "delete";
          one.kept = Boolean(change.kept);
          one.text = change.content;
          if (change.metadata) {
            if (change.op === "update") one.oldLabels = one.oldLabels ?? one.labels;
            one.labels = change.metadata;
          }
        } else if (change.op === "merge" && entries.has(id)) {
          entry(id).ops.push("merge");
        }
      });
    }
    return { entries: [...entries.values()], retrievals };
  }
}

// The index among all items, those gone included, of a place among those that are there.
function placeOf(items, at) {
  let there = 0;
  for (let i = 0; i < items.length; i++) {
    if (there === at && !items[i].gone) return i;
    if (!items[i].gone) there++;
  }
  if (there > at) throw new Error("the changes of this episode do not fit together");
  return items.length;
}

function wasSent(item, n) {
  const late = item.turn === n && item.phase === "after";
  return !late && !(item.gone && item.gone.phase === "before");
}

// The numbers of a turn that the list of turns shows.
function tally(turn) {
  const sums = { add: 0, update: 0, delete: 0, retrieve: 0, summary: 0, filtered: 0, faults: 0, invalid: false };
  for (const change of changesOf(turn)) {
    if (change.type === "memory") {
      if (change.op === "retrieve") sums.retrieve += change.ids.length;
      else if (change.op in sums && change.changed) sums[change.op] += change.op === "summary" ? 1 : change.ids.length;
    } else if (change.type === "remove" && change.reason === "filter") sums.filtered += change.ids.length;
    else if (change.type === "action" && !change.valid) sums.invalid = true;
    else if (["memory_fault", "malformed", "forfeit", "call_failed"].includes(change.type)) sums.faults++;
  }
  return sums;
}
