// Where the frames of a flame graph lie, from 0 to 1 across, and what a search finds in them.

/** The frames of an answer, below one that stands for all. Of two ranges, a frame is as wide as the mean of
 *  its shares, so that what is in one of them only is seen as well. */
export function layOut(tree) {
  const both = tree.total[1] > 0;
  const part = (sides, side) => (tree.total[side] > 0 ? sides[side] / tree.total[side] : 0);
  const width = (sides) => (both ? (part(sides, 0) + part(sides, 1)) / 2 : part(sides, 0));
  const all = { name: "all", kind: "process", total: tree.total, own: [0, 0], depth: 0, x0: 0, x1: 1, next: 0 };
  const frames = [{ ...all, parent: null, children: [], change: 0 }];
  for (const [parent, name, total, own] of tree.frames) {
    const caller = frames[parent + 1];
    const x0 = caller.next;
    const x1 = x0 + width(total);
    caller.next = x1;
    const change = both ? changeOf(part(total, 0), part(total, 1)) : 0;
    const frame = { ...tree.names[name], total, own, depth: caller.depth + 1, x0, x1, next: x0 };
    frames.push({ ...frame, parent: caller, children: [], change });
    caller.children.push(frames[frames.length - 1]);
  }
  return frames;
}

/** From -1, it is gone, to 1, it is new: the difference of the shares as a part of the larger one. */
function changeOf(now, before) {
  const larger = Math.max(now, before);
  return larger > 0 ? (now - before) / larger : 0;
}

/** What tells whether a name is searched for: by a regular expression, or as text where it is none; `null`
 *  for an empty search. Small letters find capital ones too. */
export function matcher(search) {
  if (!search) {
    return null;
  }
  const flags = search === search.toLowerCase() ? "iu" : "u";
  try {
    const expression = new RegExp(search, flags);
    return (name) => expression.test(name);
  } catch {
    return flags === "u"
      ? (name) => name.includes(search)
      : (name) => name.toLowerCase().includes(search);
  }
}

/** The part of all below `top` that matches; what matches below a match counts once. */
export function share(top, matches) {
  let found = 0;
  const waiting = [top];
  while (waiting.length) {
    const frame = waiting.pop();
    if (frame.parent && matches(frame.name)) {
      found += frame.x1 - frame.x0;
    } else {
      waiting.push(...frame.children);
    }
  }
  return found / (top.x1 - top.x0);
}

/** The names from the root to a frame. */
export function path(frame) {
  const names = [];
  for (let at = frame; at.parent; at = at.parent) {
    names.unshift(at.name);
  }
  return names;
}

/** The frame at the end of a path, or as far towards it as there are frames. */
export function follow(top, names) {
  let at = top;
  for (const name of names) {
    const next = at.children.find((child) => child.name === name);
    if (!next) {
      break;
    }
    at = next;
  }
  return at;
}
