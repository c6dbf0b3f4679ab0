// Numbers and times in words.

const UNITS = [[86400e9, "d"], [3600e9, "h"], [60e9, "min"], [1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];

/** A value of a sample type: `1.25 s`, `3.1 MiB`, `1,234`. */
export function amount(value, unit) {
  if (unit === "nanoseconds") {
    const [size, word] = UNITS.find(([size]) => value >= size) ?? [1, "ns"];
    return `${digits(value / size)} ${word}`;
  }
  return unit === "bytes" ? bytes(value) : value.toLocaleString("en");
}

export function bytes(value) {
  const words = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < words.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at ? digits(value) : value} ${words[at]}`;
}

/** Three digits that count. */
export function digits(value) {
  const places = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toFixed(places);
}

/** A part of 1 in percent. */
export function percent(part) {
  return `${(100 * (Number.isFinite(part) ? part : 0)).toFixed(2)} %`;
}

/** A difference of parts in points of a percent, with its sign. */
export function points(part) {
  const text = (100 * part).toFixed(2);
  return `${part > 0 ? "+" : part < 0 ? "−" : "±"}${text.replace("-", "")}`;
}

const two = (number) => String(number).padStart(2, "0");

/** `2026-11-25 21:06:33.100` in the time zone of the browser. */
export function moment(ms) {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const part = at.getMilliseconds() ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "";
  return `${day} ${clock(at)}${part}`;
}

/** What `moment` would write so, in milliseconds; not a number for what it would not. */
export function ofMoment(text) {
  return Math.round(new Date(text.trim().replace(" ", "T")).getTime());
}

/** `21:06:33` */
export function clock(at) {
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

/** How long a range is. */
export function length([from, to]) {
  return amount((to - from) * 1e6, "nanoseconds");
}
