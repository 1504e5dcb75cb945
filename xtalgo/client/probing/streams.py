"""Steps that watch what comes by itself: P&L and quotes; and the bars, which are asked for."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xtalgo.client.probing.script import Budget, Line, Probe, Reply, Script
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, SECOND_NS, Ns
from xtalgo.protocol.choices import BarLabel, GrowingBar, PnlEcho, PnlEpoch, PnlKeys, Repeats, nested
from xtalgo.protocol.pnl import PNL_NAMES
from xtalgo.protocol.replies import Answer, read_bars

__all__ = ["bars", "keys_in", "pnl", "quotes"]

SHORTEST: Final = 50
"""Milliseconds that the P&L stream is asked for."""
_UPDATES: Final = 9
_PNL_FACTS: Final = ("pnl_word", "pnl_echo", "pnl_keys", "pnl_epoch", "pnl_floor")
_WATCH: Final = 45.0
"""Seconds that quotes are watched at most."""
_FIVE: Final = ("instrument", "bid", "ask", "last", "volume")
_GAP: Final = 1_800 * MILLISECOND_NS
"""Between two frames: one in between was left out, since they come once a second (documented)."""


# --- P&L -------------------------------------------------------------------------------------------------------------


def pnl(probe: Probe) -> Script[None]:
    """Switch the P&L stream on as fast as it goes, and off; compare what it tells with GetAccount."""
    before = yield from probe.ask("GetAccount", account=probe.account)
    on = json.dumps({"action": "streamPnl", "enabled": True, "interval": SHORTEST})
    heard = yield from probe.say(on, budget=Budget.ACTIONS, seconds=12.0, until=lambda lines: _count(lines) >= _UPDATES)
    yield from _off(probe)
    after = yield from probe.ask("GetAccount", account=probe.account)
    acks = [line for line in heard.lines if isinstance(line.frame, dict) and "type" not in line.frame]
    acks = [line for line in acks if "id" not in line.frame]
    updates = [line for line in heard.lines if _is(line, "pnlUpdate")]
    ack = acks[0] if acks else None
    if ack is not None and ack.frame.get("error"):
        probe.leave(f"an interval of {SHORTEST} ms is refused: {probe.shown(ack)}", *_PNL_FACTS)
        return
    if not updates:
        probe.leave("the stream was switched on and nothing came of it", *_PNL_FACTS)
        return
    told = _acknowledged(probe, ack)
    _epoch(probe, updates[0])
    _floor(probe, updates, told)
    _keys(probe, updates, before, after)


def _off(probe: Probe) -> Script[None]:
    yield from probe.say('{"action":"streamPnl","enabled":false}', budget=Budget.ACTIONS, seconds=1.5)


def _is(line: Line, kind: str) -> bool:
    return isinstance(line.frame, dict) and line.frame.get("type") == kind


def _count(lines: Sequence[Line]) -> int:
    return sum(_is(line, "pnlUpdate") for line in lines)


def _acknowledged(probe: Probe, ack: Line | None) -> int | None:
    """Settle word and echo; the interval that the acknowledgment tells."""
    if ack is None:
        probe.settle("pnl_echo", PnlEcho.NO_ACK, doubt="updates came, and no acknowledgment")
        probe.leave("there is no acknowledgment", "pnl_word")
        return None
    word = ack.frame.get("status")
    if not isinstance(word, str) or not word:
        probe.leave(f"no acknowledgment that is known: {probe.shown(ack)}", "pnl_word", "pnl_echo")
        return None
    probe.settle("pnl_word", word, ack)
    interval = ack.frame.get("interval")
    if "enabled" not in ack.frame:
        probe.settle("pnl_echo", PnlEcho.NOTHING, ack)
        return None
    probe.settle("pnl_echo", PnlEcho.ENABLED if interval is None else PnlEcho.INTERVAL, ack)
    return interval if isinstance(interval, int) else None


def _epoch(probe: Probe, line: Line) -> None:
    epoch = line.frame.get("epoch")
    if not isinstance(epoch, int | float) or isinstance(epoch, bool):
        probe.leave(f"there is no epoch: {probe.shown(line)}", "pnl_epoch")
        return
    for unit, span in ((PnlEpoch.MILLISECONDS, MILLISECOND_NS), (PnlEpoch.SECONDS, SECOND_NS)):
        if abs(epoch * span - line.at) < 60 * MINUTE_NS:
            probe.settle("pnl_epoch", unit, line)
            return
    probe.leave(f"it is no time of this hour, neither in seconds nor in milliseconds: {epoch}", "pnl_epoch")


def _floor(probe: Probe, updates: Sequence[Line], told: int | None) -> None:
    gaps = [(b.at - a.at) / MILLISECOND_NS for a, b in itertools.pairwise(updates)]
    if len(gaps) < 3:
        probe.leave(f"only {len(updates)} updates came", "pnl_floor")
        return
    seen = statistics.median(gaps)
    if told is not None and abs(seen - told) <= max(20.0, 0.25 * told):
        probe.settle("pnl_floor", told, *updates[:1])
    else:
        doubt = f"measured: {seen:.0f} ms between updates, when {SHORTEST} were asked for"
        probe.settle("pnl_floor", max(SHORTEST, round(seen / 50) * 50), *updates[:1], doubt=doubt)


def _keys(probe: Probe, updates: Sequence[Line], before: Reply, after: Reply) -> None:
    """Which key tells what: by its name, and by its value where GetAccount tells that, too."""
    items = [reply.rows.get("item") for reply in (before, after)]
    for line in updates:
        found = keys_in(line.frame.get("accounts"), probe.account)
        if found is None:
            continue
        keys, row = found
        missing = [word for word in ("realized", "unrealized") if getattr(keys, word) is None]
        if missing:
            probe.leave(f"no key for {' and '.join(missing)}: {probe.shown(line)}", "pnl_keys")
            return
        unsure = []
        for key, item in (
            (keys.realized, "realizedProfitLoss"),
            (keys.unrealized, "unrealizedProfitLoss"),
            (keys.net_liquidation, "netLiquidation"),
        ):
            if key is None:
                continue
            value = nested(key, row)
            values = [told.get(item) for told in items if isinstance(told, Mapping)]
            asked = [one for one in values if isinstance(one, int | float)]
            if not asked:
                unsure.append(f"GetAccount tells no {item}")
            elif not min(asked) - 0.01 <= value <= max(asked) + 0.01:
                probe.leave(f"{key} is {value:g} where GetAccount's {item} is {asked[-1]:g}", "pnl_keys")
                return
            elif value == 0:
                unsure.append(f"{key} was 0, as it should, so only its name speaks for it")
        probe.settle("pnl_keys", keys, line, doubt="; ".join(unsure))
        return
    probe.leave(f"the account is not in it: {probe.shown(updates[-1])}", "pnl_keys")


def keys_in(accounts: Any, account: str) -> tuple[PnlKeys, Mapping[str, Any]] | None:
    """The keys of ``pnlUpdate`` and the row of one account, by the names of keys; None where it has no row."""
    if isinstance(accounts, Mapping):
        for name, row in accounts.items():
            if name.casefold() == account.casefold() and isinstance(row, Mapping):
                return PnlKeys(None, *_money(row)), row
        return None
    for row in accounts if isinstance(accounts, list) else ():
        if not isinstance(row, Mapping):
            continue
        texts = [(path, value) for path, value in _leaves(row) if isinstance(value, str)]
        names = [path for path, value in texts if value.casefold() == account.casefold()]
        if names:
            key = min(names, key=lambda path: (_rank("account", path), path.count("."), names.index(path)))
            return PnlKeys(key, *_money(row)), row
    return None


def _money(row: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    numbers = [path for path, value in _leaves(row) if isinstance(value, int | float) and not isinstance(value, bool)]

    def best(what: str) -> str | None:
        likely = [path for path in numbers if _rank(what, path) < len(PNL_NAMES[what]) or _smells(what, _folded(path))]
        return min(likely, key=lambda path: (_rank(what, path), path.count("."), numbers.index(path)), default=None)

    return best("realized"), best("unrealized"), best("net_liquidation")


def _folded(path: str) -> str:
    return path.rpartition(".")[2].replace("_", "").lower()


def _rank(what: str, path: str) -> int:
    """How early among the names that we know of a key comes; their number for any other."""
    known = [name.lower() for name in PNL_NAMES[what]]
    return known.index(_folded(path)) if _folded(path) in known else len(known)


def _smells(what: str, name: str) -> bool:
    """Whether a key that we don't know can only mean this."""
    if what == "realized":
        return "realized" in name and not any(part in name for part in ("unreal", "gross", "percent"))
    if what == "unrealized":
        return "unreal" in name and "percent" not in name
    return "netliq" in name and "currency" not in name


def _leaves(row: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{head}{key}.")
        else:
            yield f"{head}{key}", value


# --- quotes ----------------------------------------------------------------------------------------------------------


def quotes(probe: Probe) -> Script[None]:
    """Watch quotes until it is seen whether unchanged ones are repeated."""
    name = probe.instrument
    on = json.dumps({"action": "subscribe", "instruments": [name]})
    heard = yield from probe.say(
        on, budget=Budget.ACTIONS, seconds=_WATCH, until=lambda lines: _repeated(_rows(lines, name)) is not None
    )
    yield from probe.say(
        json.dumps({"action": "unsubscribe", "instruments": [name]}), budget=Budget.ACTIONS, seconds=1.5
    )
    rows = _rows(heard.lines, name)
    if not rows:
        why = f"no quote of {name} came in {_WATCH:g} s"
        probe.leave(why, "quote_repeats", "quote_keys")
        return
    first = rows[0][1]
    probe.settle("quote_keys", tuple(key for key in first if key not in _FIVE), rows[0][0])
    repeats = _repeated(rows)
    if repeats is None:
        why = f"{len(rows)} quotes came in {_WATCH:g} s, all of them changed: try a quieter instrument, or hour"
        probe.leave(why, "quote_repeats")
    elif repeats is Repeats.ALWAYS:
        probe.settle("quote_repeats", repeats, *_pair(rows))
    else:
        doubt = f"{len(rows)} quotes came, each of them changed, and seconds passed between some"
        probe.settle("quote_repeats", repeats, *(line for line, _ in rows[:2]), doubt=doubt)


def _rows(lines: Sequence[Line], name: str) -> list[tuple[Line, Mapping[str, Any]]]:
    return [
        (line, row)
        for line in lines
        if _is(line, "marketData") and isinstance(line.frame.get("quotes"), list)
        for row in line.frame["quotes"]
        if isinstance(row, Mapping) and row.get("instrument") == name
    ]


def _five(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in _FIVE)


def _repeated(rows: Sequence[tuple[Line, Mapping[str, Any]]]) -> Repeats | None:
    """What a run of quotes shows; None while it shows nothing."""
    pairs = list(itertools.pairwise(rows))
    if any(_five(a[1]) == _five(b[1]) for a, b in pairs):
        return Repeats.ALWAYS
    gaps = sum(b[0].at - a[0].at > _GAP for a, b in pairs)
    return Repeats.CHANGES if len(rows) >= 5 and gaps >= 3 else None


def _pair(rows: Sequence[tuple[Line, Mapping[str, Any]]]) -> tuple[Line, Line]:
    return next((a[0], b[0]) for a, b in itertools.pairwise(rows) if _five(a[1]) == _five(b[1]))


# --- bars ------------------------------------------------------------------------------------------------------------


def bars(probe: Probe) -> Script[None]:
    """Ask for the newest bars twice within one minute, with the session's volume before and after."""
    facts = ("bar_label", "growing_bar")
    for _ in range(3):
        now = (yield from probe.listen(0.0)).at
        wait = (20 * SECOND_NS - now) % MINUTE_NS
        if now % MINUTE_NS > 35 * SECOND_NS or now % MINUTE_NS < 20 * SECOND_NS:
            yield from probe.listen(wait / SECOND_NS)
        volume = yield from _volume(probe)
        first = yield from _newest(probe)
        yield from probe.listen(10.0)
        second = yield from _newest(probe)
        grown = yield from _volume(probe)
        if isinstance(first, str) or isinstance(second, str):
            probe.leave(first if isinstance(first, str) else str(second), *facts)
            return
        minute = first[0].at // MINUTE_NS
        if second[0].at // MINUTE_NS != minute:
            continue
        _conclude(probe, first, second, minute * MINUTE_NS, grown is not None and volume is not None and grown > volume)
        return
    probe.leave("two answers within one minute did not come", *facts)


_Bar = tuple[Line, Ns, tuple[Any, ...]]


def _newest(probe: Probe) -> Script[_Bar | str]:
    """The newest bar: frame, label and figures; or why there is none."""
    reply = yield from probe.ask(
        "GetBars", instrument=probe.instrument, periodType="minute", period=1, daysBack=1, limit=5
    )
    if not reply.is_good:
        return f"GetBars is refused: {reply.error}"
    answer = read_bars(reply.body)
    if not isinstance(answer, Answer) or not answer.value.bars:
        return f"GetBars answers without bars: {probe.shown(reply.line)}"
    bar = max(answer.value.bars, key=lambda row: row.labelled or 0)
    if bar.labelled is None:
        return f"its bars have no time that can be read: {probe.shown(reply.line)}"
    return reply.line, bar.labelled, (bar.open, bar.high, bar.low, bar.close, bar.volume)


def _volume(probe: Probe) -> Script[int | None]:
    reply = yield from probe.ask("GetQuote", instrument=probe.instrument)
    volume = reply.rows.get("volume")
    return volume if isinstance(volume, int) else None


def _conclude(probe: Probe, first: _Bar, second: _Bar, minute: Ns, traded: bool) -> None:
    """From the newest label, relative to the minute under way, and whether that bar moved."""
    seen, ahead = (first[0], second[0]), (second[1] - minute) // MINUTE_NS
    moved = first[1] != second[1] or first[2] != second[2]
    if (second[1] - minute) % MINUTE_NS or ahead not in (-1, 0, 1):
        why = f"the newest label is {(second[1] - minute) / SECOND_NS:+.0f} s from the minute under way"
        probe.leave(f"{why}: is this machine's clock right?", "bar_label", "growing_bar")
    elif ahead == 1 or (ahead == 0 and moved):
        probe.settle("bar_label", BarLabel.END if ahead else BarLabel.START, *seen)
        probe.settle("growing_bar", GrowingBar.INCLUDED, *seen)
    elif ahead == -1 or traded:
        probe.settle("bar_label", BarLabel.START if ahead else BarLabel.END, *seen)
        probe.settle("growing_bar", GrowingBar.LEFT_OUT, *seen)
    else:
        probe.leave("nothing traded between the two answers", "bar_label", "growing_bar")
