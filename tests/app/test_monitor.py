"""What a run tells of itself: each thing once, in order, cheaply, and never by waiting for whoever reads."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from itertools import pairwise
from typing import Any

import pytest
import trio
from app.liveruns import Bracketed, Heard, Life, conduct, life
from rich.console import Console
from tables import START

from xtalgo import Instrument, Quote, Strategy
from xtalgo.app.console import Screen
from xtalgo.app.livetable import TableDisplay, View, draw, view_of
from xtalgo.app.monitor import Monitor
from xtalgo.app.news import JsonDisplay, News, PlainDisplay, Writer, clock_time, plain_line
from xtalgo.app.summary import figures, left_text, show_figures
from xtalgo.live.session import Left
from xtalgo.live.wires import DialFailed


class Keen(Strategy):
    """Wants to buy at every quote; limits are in the way."""

    instrument: Instrument = "ES"

    def on_quote(self, quote: Quote) -> None:
        self.buy(quote.instrument, 5)


class Tee(Heard):
    """Remembers, and draws views along the way."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[View] = []

    def look(self, session, now: int) -> None:
        super().look(session, now)
        self.views.append(view_of(session, now, "DEMO, SYNTHETIC market"))


def with_views(one: Life) -> Tee:
    tee = Tee()
    one.run.display = one.run.monitor.display = one.heard = tee
    return tee


async def test_everything_is_told_once_and_in_order(autojump_clock) -> None:
    one = life(duration=70)
    await conduct(one)
    heard = one.heard
    stamps = [news.ts for news in heard.news]
    # What is found by looking is told when it is found: no more than a look later than what is told at once.
    assert all(later >= earlier - 250_000_000 for earlier, later in pairwise(stamps))
    assert [news.event for news in heard.news][:4] == ["link", "accounts", "pin", "running"]
    assert heard.of("accounts")[0].text == "account Demo101 (the venue says: simulator)"
    (pin,) = heard.of("pin")
    assert pin.facts == {"asked": "ES", "instrument": "ES 06-26", "days_to_expiry": 19}
    assert pin.text == (
        "instrument ES -> ES 06-26, 19 days to expiry (2026-06-01, the venue says; "
        "NinjaTrader's date is the first of the month, trading ends later)"
    )
    fills = heard.of("fill")
    assert [news.facts["execution"] for news in fills] == [fill.execution_id for fill in one.engine.blotter.fills]
    placed = [news for news in heard.of("order") if news.facts["status"] == "placed"]
    assert [news.facts["id"] for news in placed] == list(one.engine.blotter.orders)
    assert placed[1].text.endswith("-2: buy 1 ES 06-26 limit 100, Bracketed, Demo101")
    assert placed[2].text.endswith(" (stop loss), Bracketed, Demo101")
    statuses = {key: [] for key in one.engine.blotter.orders}
    for news in heard.of("order"):
        statuses[news.facts["id"]].append(news.facts["status"])
    entry, far, stop = statuses.values()
    assert entry[0] == "placed"
    assert entry[-1] == "filled"
    assert far[-1] == "cancelled"
    assert stop[-1] == "working"
    assert all(len(set(told)) == len(told) for told in statuses.values())
    assert [news.text for news in heard.of("note")] == [f"Bracketed: in at={one.engine.notes[0].facts['at']}"]
    (status,) = heard.of("status")
    assert status.text.startswith("Demo101 ES 06-26 +1; open P&L ")
    assert heard.of("stopping")[0].facts == {"mode": "protect"}
    assert one.trader.notices == []


async def test_nothing_is_looked_at_when_nothing_moved(autojump_clock) -> None:
    class Counted(Monitor):
        def look(self, session, now: int) -> None:
            nonlocal looks
            looks += 1
            super().look(session, now)

    one = life(duration=10)
    looks = 0
    monitor = one.run.monitor = Counted(one.heard)
    async with one.world.open() as world, trio.open_nursery() as nursery:
        nursery.start_soon(one.run.conduct, world.dial("s3cr3t-t0ken"))
        await trio.sleep(8)
        before, now = looks, one.run.clock.now()
        monitor.update(one.session, now)
        settled = looks
        for _ in range(1_000):
            monitor.update(one.session, now)
        assert settled <= before + 1
        assert looks == settled
        one.trader.tell(now, "something")
        monitor.update(one.session, now)
        assert looks == settled + 1
        assert one.heard.texts[-1] == "something"
    # About four times a second of something happening; and the display sees no more than that.
    assert one.heard.looks <= looks


async def test_many_denials_are_few_lines(autojump_clock) -> None:
    one = life([Keen()], duration=40, max_order_quantity="1")
    await conduct(one)
    denials = one.heard.of("deny")
    assert len(denials) > 30
    assert all(news.facts["reason"] == "order_size" for news in denials if "order_size" in news.facts["why"])
    told = [news for news in denials if news.text and news.facts["reason"] == "order_size"]
    assert len(told) == 5 + 3  # at 8, 16 and 32
    assert told[-1].text.endswith("(32 times for this reason)")
    assert one.engine.denials["order_size"] > 32


async def test_others_hands_quarantine_and_what_is_new_to_us(autojump_clock) -> None:
    one = life([Bracketed(breaks_at=6), Bracketed()])
    await conduct(one)
    (raised,) = one.heard.of("quarantine")
    assert re.search(r"^Bracketed raised at .*liveruns\.py:\d+; it is in quarantine: .*as planned", raised.text)
    now = one.run.ended
    one.engine.decisions += [(now, "external", "Demo101", "ES 06-26", -1, -1), (now, "brand-new", 5), (now, "bare")]
    one.run.update(one.session, now)
    external, unknown, bare = one.heard.news[-3:]
    assert external.text == "somebody else moved ES 06-26 in Demo101 by -1; our books gave up -1"
    assert external.is_warning
    assert (unknown.event, unknown.text) == ("brand-new", "brand-new 5")
    assert bare.event == "bare"


async def test_a_monitor_that_fails_does_not_end_the_run(autojump_clock) -> None:
    class Broken(Monitor):
        def look(self, session, now: int) -> None:
            if session.started is not None:
                raise KeyError("of ours")
            super().look(session, now)

    one = life(on_stop="flatten")
    one.run.monitor = Broken(one.heard)
    await conduct(one)
    assert one.run.left[0].is_flat
    assert len(one.engine.blotter.fills) == 2
    assert [text for text in one.heard.texts if "the run goes on without it" in text] == [one.heard.texts[-1]]
    with pytest.raises(KeyError):  # reported as ours, after everything else
        one.run.verdict()


async def test_drops_are_told(autojump_clock) -> None:
    one = life(faults={"drop_at": [8]}, duration=20)
    await conduct(one)
    assert "link up again, connection 2" in one.heard.texts
    (down,) = [text for text in one.heard.texts if text.startswith("link down") and "next attempt" in text]
    assert re.search(r"next attempt in \d s", down)


# --- displays ------------------------------------------------------------------------------------------------------


def told(display: Any, stream: io.StringIO, *news: News) -> list[str]:
    for one in news:
        display.tell(one)
    display.close()
    return stream.getvalue().splitlines()


def test_plain_lines() -> None:
    stream = io.StringIO()
    lines = told(
        PlainDisplay(stream),
        stream,
        News(START, "order", "two\nlines"),
        News(START, "order", "", {"id": "x-1"}),
        News(START + 999_999_999, "deny", "no", is_warning=True),
    )
    assert lines == [f"{clock_time(START)} two lines", f"{clock_time(START)} ! no"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", clock_time(START))


def test_json_lines() -> None:
    stream = io.StringIO()
    first, second = map(
        json.loads,
        told(JsonDisplay(stream), stream, News(START, "fill", "text", {"price": 1.5}), News(START, "order", "")),
    )
    assert first == {"ts": "2026-05-13T14:00:00.000000000Z", "event": "fill", "text": "text", "price": 1.5}
    assert second == {"ts": "2026-05-13T14:00:00.000000000Z", "event": "order"}


def test_a_stalled_reader_delays_nobody() -> None:
    writer = Writer()
    reads, written = threading.Event(), []

    def stalled() -> None:
        reads.wait(10)
        written.append(0)

    writer.put(stalled)
    for number in range(1, 12_000):
        writer.put(lambda number=number: written.append(number))
    assert writer.dropped >= 1_900
    assert written == []
    reads.set()
    writer.close()
    assert written == list(range(12_000 - writer.dropped))


def test_a_reader_that_has_gone_is_remembered() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    display = PlainDisplay(Gone())
    display.tell(News(START, "order", "one"))
    display.tell(News(START, "order", "two"))
    display.close()
    assert isinstance(display.writer.broken, BrokenPipeError)


# --- table ---------------------------------------------------------------------------------------------------------


def drawn(view: View, width: int = 80, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, **options)
    console.print(draw(view))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


async def test_the_table_at_80_columns(autojump_clock) -> None:
    one = life(duration=15)
    tee = with_views(one)
    await conduct(one)
    shown = [drawn(view) for view in tee.views]
    assert all(len(line) <= 80 for lines in shown for line in lines)
    last = "\n".join(shown[-3])
    assert re.search(r"^-+ DEMO, SYNTHETIC market -+$", last, re.MULTILINE)
    assert re.search(r"^link up for 1\d s$", last, re.MULTILINE)
    assert re.search(r"^tokens \d+ of 20, 0 waiting, \d calls under way, \d+ sent$", last, re.MULTILINE)
    assert re.search(r"^ES 06-26  [\d.]+ x [\d.]+  last [\d.]+ +\d\.\d s", last, re.MULTILINE)
    assert re.search(r"^Bracketed Demo101  ES 06-26  \+1 at [\d.]+  open -?\$[\d.]+  realised -\$2\.90", last, re.M)
    assert "(stop loss)" in last
    text = "".join(line for lines in shown for line in lines)
    assert text.replace("\N{HORIZONTAL ELLIPSIS}", "").isascii()  # rich cuts with it; cp1252 has it
    assert tee.views[0].orders == ()


def test_a_table_too_wide_is_cut_not_broken() -> None:
    view = View("T" * 200, ("l" * 300, "red"), "f" * 300, (("q" * 300, "b", "c", "d"),), (), ("o" * 300,), ("a" * 300,))
    lines = drawn(view, 60)
    assert all(len(line) <= 60 for line in lines)
    assert len(lines) == 6


async def test_an_old_quote_is_marked(autojump_clock) -> None:
    one = life(faults={"silence": [{"from": 8, "until": 17}]}, duration=20)
    tee = with_views(one)
    await conduct(one)
    ages = [row[3] for view in tee.views for row in view.quotes if len(row) == 4]
    assert any(age.endswith(" OLD") for age in ages)
    assert any(re.fullmatch(r"0\.\d s", age) for age in ages)


class Terminal(io.StringIO):
    """A terminal that can go away."""

    gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


def test_a_terminal_that_closes_gives_standard_output_back(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    display = TableDisplay(stream, "title")
    assert sys.stdout is not stream
    stream.gone = True
    display.tell(News(START, "fill", "fill x-1"))
    display.close()
    assert sys.stdout is stream
    assert isinstance(display.writer.broken, OSError)


def test_the_live_table_leaves_the_lines() -> None:
    stream = Terminal()
    display = TableDisplay(stream, "title")
    display.tell(News(START, "fill", "fill x-1"))
    display.tell(News(START, "status", "left out"))
    display.tell(News(START, "order", ""))
    display.close()
    assert f"{clock_time(START)} fill x-1" in stream.getvalue()
    assert "left out" not in stream.getvalue()


# --- summary -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "text", "is_flat"),
    [
        (Left("A", {}, ()), "flat: no position, no working order", True),
        (Left("A", {"ES 06-26": -2}, ()), "ES 06-26 -2; 0 working orders", False),
        (Left("A", {}, ("x-1: buy",)), "no position; 1 working orders", False),
        (Left("A", {}, None), "no position; whether orders work is not known: look there yourself", False),
        (Left("A", None, ()), "positions not known; 0 working orders", False),
        (Left("A", None), "not known: the venue could not be asked; look there yourself", False),
    ],
)
def test_flat_is_only_what_was_said_to_be(left: Left, text: str, is_flat: bool) -> None:
    assert left_text(left) == text
    assert left.is_flat is is_flat


async def test_the_summary_in_words(autojump_clock) -> None:
    one = life([Bracketed(), Keen()], duration=12, max_order_quantity="1", commission="1")
    await conduct(one)
    found = figures(one.session, one.run.left, one.run.ended, one.run.how)
    json.dumps(found, allow_nan=False)
    stream = io.StringIO()
    show_figures(Screen(stream), found, one.run.left, "DEMO")
    text = stream.getvalue()
    assert "Summary: DEMO" in text
    assert "after 12 s, as asked; wound down with protect" in text
    assert re.search(r"orders +3 sent: \d+ denied; 1 filled; 1 cancelled; 1 working", text)
    assert re.search(r"ES 06-26 +Bracketed in Demo101: \+1 at [\d.,]+; realised \$0\.00, open ", text)
    assert re.search(r"P&L of this run +net -\$[\d.]+: realised \$0\.00, open .*, fees \$1\.00", text)
    assert re.search(r"denied by us +\d+ order_size", text)
    assert re.search(r"Demo101 +ES 06-26 \+1; 1 working orders\n +x", text)
    assert text.endswith("Not flat, or not known to be: see to what is listed above.\n")


async def test_the_summary_of_a_run_that_never_began_is_short(autojump_clock) -> None:
    async def dial() -> Any:
        raise DialFailed("no")

    one = life(duration=5)
    await one.run.conduct(dial)
    stream = io.StringIO()
    found = figures(one.session, one.run.left, one.run.ended, one.run.how)
    show_figures(Screen(stream), found, one.run.left, "DEMO")
    assert "never began; no order was sent" in stream.getvalue()
    assert "flat" not in stream.getvalue()


def test_a_line_is_one_line() -> None:
    assert plain_line(News(START, "notice", " a\n\n b\t", is_warning=True)).endswith(" ! a b")
