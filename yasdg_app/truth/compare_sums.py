"""Compares an engine's sums, one row per window and key, with the true sums.

Differences are investigated in a second run over the shop: if the difference equals the effect of one event in the
window, or of faults of the channel, the report names it. Nothing is named if something else explains the difference as
well.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yasdg_app.config.catalog import Product
from yasdg_app.messages.times import time_text
from yasdg_app.shop.demand import Ints
from yasdg_app.shop.faults import CORRUPT, DROPPED, DUPLICATE, KINDS, LATE, NONE, OUT_OF_ORDER
from yasdg_app.truth.engine_files import EngineBatch
from yasdg_app.truth.engine_values import CENT, NULL, SCALE, UNREADABLE, numbers, texts, times
from yasdg_app.truth.events import MONEY, OF_LOST_SALES, OF_RESTOCKS, OF_SALES, PLACE, Block
from yasdg_app.truth.report import ComparisonReport, EngineFinding
from yasdg_app.truth.tumbling import Span
from yasdg_app.truth.windows import Keys, SumRows, rows_of

START, END = "window_start", "window_end"
CLOSING = "closing_stock"
TOGETHER = (OF_SALES, OF_RESTOCKS, OF_LOST_SALES, (CLOSING,))  # columns to which the same events add
MAX_ROWS_EXPLAINED = 10_000  # max rows that are investigated
MAX_EVENTS_KEPT = 100_000  # max events kept for the investigation, some 900 bytes each
MAX_FAULTS_COMBINED = 8  # max faults of a row, of which every combination is tried
MAX_IDS_SHOWN = 10  # max ids of a finding
MAX_KEY_CHARACTERS = 200  # max characters of a key in a finding


class Difference(NamedTuple):
    """A row that differs: `got` and `wanted` by column, in ten-thousandths; `got` is None: the row is missing."""

    got: Mapping[str, int] | None
    wanted: Mapping[str, int]


class Event(NamedTuple):
    """An event in a window that differs."""

    event_id: str  # id
    fault: int
    counted: int  # how often it should be counted
    adds: Mapping[str, int]  # what it adds when counted once, by column


class EngineSums:
    """The rows of an engine.

    Parameters
    ----------
    keys, span
        Of the expected sums.
    columns
        The engine's columns to compare, some of VALUES.
    report
        Receives rows that belong to no window or key.
    asked
        Event times from which, and before which, windows are compared; None: no such bound. A window within them but
        outside the span does not belong to the shop's lifetime.
    has_ends
        Whether the engine's rows contain the end of the window, which is then compared.
    """

    def __init__(
        self, keys: Keys, span: Span, columns: Sequence[str], report: ComparisonReport,
        asked: tuple[int | None, int | None] = (None, None), has_ends: bool = False,
    ) -> None:  # fmt: skip
        self._keys, self._span, self._report = keys, span, report
        self._asked, self._has_ends = asked, has_ends
        self._places = {name: place for place, name in enumerate(keys.names)}
        self.columns = columns
        self._parts: list[list[Ints]] = []
        self.group = np.empty(0, dtype=np.int64)
        self.values: dict[str, Ints] = {name: np.empty(0, dtype=np.int64) for name in columns}

    def take(self, batch: EngineBatch) -> None:
        """Add some rows."""
        for where in batch.unreadable:
            self._report.add(EngineFinding("unreadable", {"row": where}))
        if not batch.rows:
            return
        start = times(batch.columns[START])
        names = texts(batch.columns[self._keys.column])
        key = np.array([self._places.get(name, -1) for name in names], dtype=np.int64)
        window = self._span.window or 1
        readable = (start != NULL) & (start != UNREADABLE)
        aligned = (start % window == 0) | (self._span.window is None)
        for row in np.flatnonzero(~readable | ~aligned | (key < 0)).tolist():
            if not readable[row]:
                kind, why = "unreadable", f"{START} is not a time"
            else:
                kind, why = (
                    "unknown",
                    f"no such {self._keys.column}" if key[row] < 0 else "no window starts at that time",
                )
            self._add(kind, int(start[row]), names[row] or "NULL", why)
        known = readable & aligned & (key >= 0)
        number = np.where(known, self._span.number(start), 0)
        first, end = self._span.edges(number)
        inside = known & (end > self._span.begin) & (first < self._span.end)
        columns = [numbers(batch.columns[name], name in MONEY) for name in self.columns]
        columns = [np.where(column == NULL, 0, column) for column in columns]
        foreign = known & ~inside & self._is_judged(first, end) & self._is_something(columns)
        self._report.outside += int(np.count_nonzero(known & ~inside & ~foreign))
        for row in np.flatnonzero(foreign).tolist():
            self._add("unknown", int(start[row]), names[row], "the shop was not open yet, or had closed")
        if self._has_ends and self._span.window is not None:
            ends = times(batch.columns[END])
            for row in np.flatnonzero(inside & (ends != end)).tolist():
                values = {END: (_moment(int(ends[row])), _text(int(end[row])))}
                self._add("wrong", int(start[row]), names[row], values=values)
        self._parts.append([self._keys.groups(number[inside], key[inside]), *(column[inside] for column in columns)])

    def _is_judged(self, first: Ints, end: Ints) -> Any:
        """Return which windows lie within the requested event times."""
        begin, before = self._asked
        judged = np.ones(len(first), dtype=np.bool_)
        judged &= True if begin is None else first >= begin
        judged &= True if before is None else end <= before
        return judged

    def _is_something(self, columns: Sequence[Ints]) -> Any:
        """Return which rows contain an event: engines that fill gaps write rows of zeros at any time."""
        counted = [column for name, column in zip(self.columns, columns, strict=True) if name != CLOSING]
        return np.any([column != 0 for column in counted or columns], axis=0)

    def _add(
        self, kind: str, start: int, key: str, why: str = "", values: Mapping[str, tuple[Any, Any]] | None = None
    ) -> None:
        place = {START: _moment(start), self._keys.column: key[:MAX_KEY_CHARACTERS]}
        self._report.add(EngineFinding(kind, place, values or {}, why=why))

    def close(self) -> None:
        """Sort all rows by window and key."""
        columns = [np.concatenate(parts) for parts in zip(*self._parts, strict=True)] if self._parts else []
        self._parts.clear()
        if columns:
            order = np.argsort(columns[0], kind="stable")
            self.group = columns[0][order]
            self.values = {name: column[order] for name, column in zip(self.columns, columns[1:], strict=True)}
        self._report.rows = len(self.group)

    def place(self, group: int) -> dict[str, str]:
        """Return window and key of a group in their printed form."""
        number, key = divmod(group, len(self._keys.names))
        start, _ = self._span.edges(np.array([number]))
        return {START: _text(int(start[0])), self._keys.column: self._keys.names[key]}


def _moment(at: int) -> str:
    """Return an engine's time in its printed form."""
    return {NULL: "NULL", UNREADABLE: "not readable"}.get(at) or _text(at)


def _text(at: int) -> str:
    try:
        return time_text(at)
    except (ValueError, OverflowError, OSError):
        return str(at)


class SumsComparison:
    """Compares an engine's sums with the true ones, and investigates the differences."""

    def __init__(self, sums: EngineSums, keys: Keys, span: Span, report: ComparisonReport) -> None:
        self._sums, self._keys, self._span, self._report = sums, keys, span, report
        self._different: dict[int, list[Difference]] = {}
        self._counted = [name for name in sums.columns if name != CLOSING]

    @property
    def is_to_be_explained(self) -> bool:
        """Whether there are differences to investigate."""
        return bool(self._different)

    def compare(self, event_blocks: Iterator[Block]) -> Iterator[int]:
        """Compare all rows; yield the event time reached after each block."""
        for rows, through in rows_of(event_blocks, self._keys, self._span, np.unique(self._sums.group)):
            if len(rows):
                self._compare(rows)
            yield through

    def _compare(self, rows: SumRows) -> None:
        sums, group = self._sums, self._keys.groups(rows.number, rows.key)
        wanted = {name: rows.column(name) * (CENT if name in MONEY else SCALE) for name in sums.columns}
        occurred = np.zeros(len(group), dtype=np.bool_) if self._counted else np.ones(len(group), dtype=np.bool_)
        for name in self._counted:
            occurred |= wanted[name] != 0
        self._report.wanted += int(np.count_nonzero(occurred))
        first = np.searchsorted(sums.group, group, side="left")
        count = np.searchsorted(sums.group, group, side="right") - first
        for place in np.flatnonzero(occurred & (count == 0)).tolist():
            self._differs(int(group[place]), None, {name: int(wanted[name][place]) for name in wanted})
        true = np.repeat(np.arange(len(group)), count)
        row = np.arange(len(true)) - np.repeat(np.cumsum(count) - count, count) + first[true]
        off = np.zeros(len(true), dtype=np.bool_)
        for name in wanted:
            off |= sums.values[name][row] != wanted[name][true]
        for place in np.flatnonzero(off).tolist():
            got = {name: int(sums.values[name][row[place]]) for name in wanted}
            right = {name: int(wanted[name][true[place]]) for name in wanted}
            self._differs(int(group[true[place]]), got, right)
        for place in np.flatnonzero(count > 1).tolist():
            for _ in range(int(count[place]) - 1):
                self._report.add(
                    EngineFinding("double", sums.place(int(group[place])), why="the row is there more than once")
                )

    def _differs(self, group: int, got: Mapping[str, int] | None, wanted: Mapping[str, int]) -> None:
        if len(self._different) < MAX_ROWS_EXPLAINED or group in self._different:
            self._different.setdefault(group, []).append(Difference(got, wanted))
        else:
            self._report.add_more("missing" if got is None else "wrong", 1)

    # --- Explaining differences -------------------------------------------------------------------------------------

    def explain(self, event_blocks: Iterator[Block], products: Sequence[Product]) -> Iterator[int]:
        """Report all differences and what explains them; `event_blocks`: a second run, with the channel's faults."""
        groups = np.array(sorted(self._different), dtype=np.int64)
        events: dict[int, list[Event]] = defaultdict(list)
        remembered = 0
        for block in event_blocks:
            remembered += self._remember(block, groups, events, products)
            yield block.through
            if remembered > MAX_EVENTS_KEPT:
                self._report.remark = (
                    f"The windows that differ contain more than {MAX_EVENTS_KEPT:,} sales, restocks and lost sales, so "
                    "the differences are not explained. Compare a shorter time (--from, --to)"
                )
                events.clear()
                break
            if block.settled >= self._span.end:
                break
        for group, differences in sorted(self._different.items()):
            for difference in differences:
                for finding in self._findings(self._sums.place(group), difference, events.get(group, ())):
                    self._report.add(finding)

    def _remember(self, block: Block, groups: Ints, events: dict[int, list[Event]], products: Sequence[Product]) -> int:
        """Keep the events in the windows that differ; return their number."""
        count, scale = 0, {name: CENT if name in MONEY else SCALE for name in self._counted}
        for each in block.events:
            group = self._keys.groups(self._span.number(each.at), self._keys.of[each.product])
            inside = (each.at >= self._span.begin) & (each.at < self._span.end)
            place = np.minimum(np.searchsorted(groups, group), len(groups) - 1)
            for row in np.flatnonzero(inside & (groups[place] == group)).tolist():
                arrived = block.arrived if not each.letter else None
                fault, counted = NONE, 1
                if arrived is not None:
                    fault, counted = int(arrived.kinds[row]), int(arrived.times[row])
                event_id = f"{products[int(each.product[row])].product_id}-{each.letter}{int(each.number[row]):06d}"
                adds = {name: int(each.counts[row, PLACE[name]]) * of for name, of in scale.items()}
                if any(adds.values()):  # something that is compared
                    events[int(group[row])].append(Event(event_id, fault, counted, adds))
                    count += 1
        return count

    def _findings(
        self, place: Mapping[str, str], difference: Difference, events: Sequence[Event]
    ) -> Iterator[EngineFinding]:
        if difference.got is None:
            yield self._missing(place, difference, events)
            return
        nothing = not any(difference.wanted[name] for name in self._counted) and not events
        if nothing and any(difference.got[name] for name in self._counted):
            yield EngineFinding(
                "unknown",
                place,
                self._values(difference, self._sums.columns),
                why="there were no events in this window",
            )
            return
        for columns in TOGETHER:
            here = [name for name in columns if name in self._sums.columns]
            if any(difference.got[name] != difference.wanted[name] for name in here):
                yield from self._explained(place, difference, here, events)

    def _missing(self, place: Mapping[str, str], difference: Difference, events: Sequence[Event]) -> EngineFinding:
        counted = [each for each in events if each.counted]
        ids = [each.event_id for each in counted]
        late = bool(counted) and all(each.fault in (LATE, OUT_OF_ORDER) for each in counted)
        named = ids if len(ids) <= MAX_IDS_SHOWN else [*ids[:MAX_IDS_SHOWN], f"{len(ids) - MAX_IDS_SHOWN} more"]
        why = "all of its events arrived late on the dirty topic" if late else "the row is missing"
        return EngineFinding("late" if late else "missing", place, ids=named, why=why)

    def _explained(
        self, place: Mapping[str, str], difference: Difference, columns: Sequence[str], events: Sequence[Event]
    ) -> Iterator[EngineFinding]:
        """Yield what explains a difference in some columns to which the same events add."""
        assert difference.got is not None
        off = {name: difference.got[name] - difference.wanted[name] for name in columns}
        values = self._values(difference, columns)
        event_id = [each for each in events if any(each.adds.get(name) for name in columns)]
        for kind, ids, why in _reasons(off, event_id):
            yield EngineFinding(kind, place, values, ids, why)

    def _values(self, difference: Difference, columns: Sequence[str]) -> dict[str, tuple[Any, Any]]:
        got = difference.got or {}
        return {
            name: (_shown(name, got[name]), _shown(name, difference.wanted[name]))
            for name in columns
            if got[name] != difference.wanted[name]
        }


def _shown(name: str, value: int) -> Any:
    if value == UNREADABLE:
        return "not readable"
    return value // SCALE if name not in MONEY and value % SCALE == 0 else value / SCALE


Reason = tuple[str, Sequence[str], str]  # kind, ids, why


def _reasons(off: Mapping[str, int], events: Sequence[Event]) -> list[Reason]:
    """Return what explains a difference: by name if the explanation is unique, otherwise all that may contribute."""
    by_faults = _by_faults(off, events)
    ways: dict[frozenset[str], list[Reason]] = {
        frozenset([event_id]): [(kind, [event_id], why)] for event_id, kind, why in _alone(off, events)
    }
    ways |= {frozenset(each.event_id for each in faulty): _reasons_of(faulty) for faulty in by_faults}
    others = _others(off, events, by_faults)
    if not ways:
        return [("wrong", [], "")]
    if len(ways) == 1 and not others:
        return next(iter(ways.values()))
    single = all(len(way) == 1 for way in ways)
    kinds = {kind for reasons in ways.values() for kind, *_ in reasons} | set(others.values())
    if single and kinds == {"late", "missing"}:
        kinds = {"missing"}  # the reason is unknown
    whys = dict.fromkeys(others, "") | {
        event_id: why for reasons in ways.values() for _, ids, why in reasons for event_id in ids
    }
    ids = [
        f"{event_id} ({whys[event_id]})" if whys[event_id] else event_id
        for event_id in sorted(whys, key=lambda event_id: (not whys[event_id], event_id))
    ]
    return [(kinds.pop() if len(kinds) == 1 else "wrong", [], f"{'one' if single else 'some'} of {_few(ids)}")]


def _alone(off: Mapping[str, int], events: Sequence[Event]) -> Iterator[tuple[str, str, str]]:
    """Yield each event that explains a difference by itself, omitted or counted once too often: id, kind, why."""
    for sign in (-1, 1):
        if any(off.values()):
            for each in events:
                if each.counted and all(sign * each.adds[name] == off[name] for name in off):
                    yield each.event_id, *_as(each, sign)


def _by_faults(off: Mapping[str, int], events: Sequence[Event]) -> list[list[Event]]:
    """Return which faults of the channel explain a difference together; each list is one explanation."""
    faulty = [each for each in events if each.fault != NONE and _could_be(each)[0]]
    parts = [[each] for each in faulty]
    if len(faulty) > MAX_FAULTS_COMBINED:  # of each kind all or none
        parts = [[each for each in faulty if each.fault == kind] for kind in sorted({each.fault for each in faulty})]
    changes = [_change(part, list(off)) for part in parts]
    wanted = [off[name] for name in off]
    return [
        [each for part, is_ in zip(parts, taken, strict=True) if is_ for each in part]
        for taken in itertools.product((False, True), repeat=len(parts))
        if any(taken) and _total(changes, taken, len(wanted)) == wanted
    ]


def _others(off: Mapping[str, int], events: Sequence[Event], ways: Sequence[Sequence[Event]]) -> dict[str, str]:
    """Return the kinds, by id, of events equal to a faulty one, which may have been miscounted instead of it."""
    if not ways:
        return {}
    alike: dict[tuple[int, ...], list[Event]] = defaultdict(list)
    for each in events:
        if each.counted:
            alike[tuple(each.adds[name] for name in off)].append(each)
    others: dict[str, str] = {}
    for way in ways:
        event_id = {each.event_id for each in way}
        places = {(tuple(each.adds[name] for name in off), _could_be(each)[0]) for each in way}
        for adds, sign in places:
            others |= {each.event_id: _as(each, sign)[0] for each in alike[adds] if each.event_id not in event_id}
    return others


def _as(each: Event, sign: int) -> tuple[str, str]:
    """Return the kind of difference if an event is counted once too often (1) or omitted (-1), and why."""
    change, kind, why = _could_be(each)
    return (kind, why) if change == sign else ("missing" if sign < 0 else "double", "")


def _change(part: Sequence[Event], columns: Sequence[str]) -> list[int]:
    return [sum(_could_be(each)[0] * each.adds[name] for each in part) for name in columns]


def _total(changes: Sequence[Sequence[int]], taken: Sequence[bool], columns: int) -> list[int]:
    here = [change for change, is_ in zip(changes, taken, strict=True) if is_]
    return [sum(change[column] for change in here) for column in range(columns)]


def _could_be(each: Event) -> tuple[int, str, str]:
    """Return by how much an engine may have miscounted a faulty event, and the kind of that difference."""
    named = KINDS[each.fault].replace("_", " ")
    if each.fault in (LATE, OUT_OF_ORDER):
        return (
            (-1, "late", f"{named} on the dirty topic")
            if each.counted
            else (1, "late", "counted, although it arrived too late")
        )
    if each.fault == DUPLICATE:
        return (1, "double", named) if each.counted == 1 else (-1, "missing", "counted once, but it arrived twice")
    return (-1 if each.counted and each.fault in (DROPPED, CORRUPT) else 0), "missing", named


def _reasons_of(faulty: Sequence[Event]) -> list[Reason]:
    by: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in faulty:
        _, kind, why = _could_be(each)
        by[kind, why].append(each.event_id)
    return [(kind, ids, why) for (kind, why), ids in by.items()]


def _few(ids: Sequence[str]) -> str:
    return ", ".join(ids if len(ids) <= MAX_IDS_SHOWN else [*ids[:MAX_IDS_SHOWN], f"{len(ids) - MAX_IDS_SHOWN} more"])
