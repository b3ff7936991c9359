/* Formats times, durations and amounts. Times are milliseconds of event time since 1970, UTC. */

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const cents = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

const DAY = 86_400_000;

export const NOTHING = "–";

export const count = (number) => (number == null ? NOTHING : whole.format(number));
export const amount = (number) => (number == null ? NOTHING : cents.format(number));
export const decimal = (number) => (number == null ? NOTHING : short.format(number));
export const MEASURES = { sales: count, units: count, revenue: amount };

/** Parse a time as in messages, `2026-11-26 13:45:12.345678`. */
export function parsed(text) {
  return text == null ? null : Date.parse(`${text.slice(0, 10)}T${text.slice(11, 23)}Z`);
}

/** Formats times in the shop's time zone. */
export class ShopTime {
  constructor(zone) {
    const format = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    const time = { hour: "2-digit", minute: "2-digit" };
    const day = { day: "numeric", month: "short" };
    this.zone = zone;
    this.minute = format(time).format;
    this.second = format({ ...time, second: "2-digit" }).format;
    this.weekday = format({ weekday: "short" }).format;
    this.day = format({ weekday: "short", ...day }).format;
    this.date = format({ weekday: "short", ...day, year: "numeric" }).format;
  }

  /** A time, with the weekday if it is not today, or the date if it is six days away or more; `seconds`: with seconds. */
  near(at, now, seconds = false) {
    if (at == null) return NOTHING;
    const far = Math.abs(at - now) / DAY;
    if (far < 1 && this.day(at) === this.day(now)) return (seconds ? this.second : this.minute)(at);
    return `${(far < 6 ? this.weekday : this.day)(at)} ${this.minute(at)}`;
  }
}

/** Format a duration in at most two units; `seconds` of event time. */
export function length(seconds) {
  if (seconds == null) return NOTHING;
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
  const days = Math.floor(hours / 24);
  return days < 100 ? `${days} d ${hours % 24} h` : "over 99 d";
}

/** Format partitions, as `partition 3` or `partitions 0–3, 5`. */
export function partitions(numbers) {
  return `partition${numbers.length === 1 ? "" : "s"} ${ranges(numbers)}`;
}

/** Format numbers in ascending order, as `0–3, 5`. */
export function ranges(numbers) {
  const runs = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}–${to}`)).join(", ") || "none";
}
