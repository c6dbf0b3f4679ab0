// Questions to the server: docs/http.md. A newer question of the same kind ends the older one.

const asked = new Map();

/** The answer as an object; `null` when a newer question took the place of this one. */
export async function ask(kind, parameters, path = kind) {
  asked.get(kind)?.abort();
  const controller = new AbortController();
  asked.set(kind, controller);
  try {
    const answer = await fetch(address(path, parameters), { signal: controller.signal });
    const body = await answer.json();
    if (!answer.ok) {
      throw Object.assign(new Error(body.error), { status: answer.status });
    }
    return asked.get(kind) === controller ? body : null;
  } catch (error) {
    if (controller.signal.aborted) {
      return null;
    }
    throw error;
  }
}

/** The address of a question. */
export function address(path, parameters) {
  return `/api/${path}?${new URLSearchParams(parameters)}`;
}

/** The parameters of a range and of filters. */
export function question([from, to], filters) {
  return [["from", from], ["to", to], ...filters];
}
