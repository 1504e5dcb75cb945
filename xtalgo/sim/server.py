"""A CrossTrade server as a state machine: connections, budgets, calls, streams and close codes, without a socket.

Inputs come with the time (``connect``, ``receive``, ``disconnect``, ``request``), ``due`` says when something happens
without one, and ``outputs`` says what to do on the sockets. Every input first lets happen what is due by its time.
Within one instant, calls and reports come before a frame of quotes. The documented behaviour is that of the wire
reference; what nobody outside knows is decided by a ``Dialect``, and the rest in one place, ``ASSUMED``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from xtalgo.engine.pacing import TokenBucket
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import MILLISECOND_NS, NEVER, SECOND_NS, Ns
from xtalgo.protocol.choices import Answer, BarLabel, Events, GrowingBar, Repeats
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.frames import (
    Ping,
    Refusal,
    Rpc,
    RpcError,
    Status,
    StreamPnl,
    Subscribe,
    Unsubscribe,
    WireQuote,
)
from xtalgo.protocol.wire import encode_server, parse_client
from xtalgo.sim.assumed import ASSUMED
from xtalgo.sim.connection import Connection
from xtalgo.sim.extras import Extras
from xtalgo.sim.faults import TAKEOVER_CODE, TAKEOVER_REASON, Faults, Mishaps
from xtalgo.sim.feeds import Feed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.gateway import LOST, PREFIX, Outcome, RestCall, Underway, read_request
from xtalgo.sim.history import BarRules
from xtalgo.sim.outputs import Close, Drop, Output, Rejection, Response, Send
from xtalgo.sim.pushed import Pushed
from xtalgo.sim.speech import Speech
from xtalgo.sim.templates import BUILT_IN, AtmTemplate
from xtalgo.sim.venue import Venue

__all__ = [
    "ASSUMED",
    "TAKEOVER_CODE",
    "TAKEOVER_REASON",
    "Close",
    "Drop",
    "Output",
    "Rejection",
    "Response",
    "Send",
    "SimServer",
]

RATE_LIMIT: Final = "Rate limit exceeded"
ABUSE_CODE: Final = 1008
"""Close code for rate-limit abuse (observed)."""
ABUSE: Final = 10
"""Violations in a row that close the socket (documented)."""
NONSENSE_CODE: Final = 1003
"""Close code for a frame that makes no sense, in a dialect that closes the connection for it (assumed)."""
NO_CLOSE_FRAME: Final = 1006
"""Close code that stands for none."""


class SimServer:
    """One CrossTrade server with one user's token, over a simulated venue.

    ``latency.entry`` passes between a call's coming and its being carried out, which is when it is answered;
    ``latency.report`` is not used, since a server knows of its fills at once. ``cash`` is what each account starts
    with; ``templates`` are the ATM templates that orders may name. ``dialect`` is how it speaks where nobody outside
    knows. Raises ConfigError for accounts that can't be.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        token: str = "demo",
        accounts: Sequence[str] = ("Sim101",),
        contracts: ContractBook,
        fills: FillModel,
        latency: Latency,
        fees: Fees,
        faults: Faults | None = None,
        cash: float = 100_000.0,
        templates: Sequence[AtmTemplate] = BUILT_IN,
        dialect: Dialect | None = None,
    ) -> None:
        self.faults = faults or Faults()
        self._token = token
        self._feed = feed
        self._entry = latency.entry
        self._mishaps = Mishaps(self.faults, 0)
        spoken = self.dialect = dialect or Dialect()
        self.venue = Venue(
            feed,
            contracts,
            tuple(accounts),
            fills,
            fees,
            self._mishaps,
            cash,
            tuple(templates),
            BarRules("end" if spoken.bar_label is BarLabel.END else "start", spoken.growing_bar is GrowingBar.INCLUDED),
            spoken,
        )
        """The venue behind it, for tests and displays."""
        self._speech = Speech(self.dialect)
        self._extras = Extras(self.venue, self._speech)
        self._now: Ns | None = None
        self._agenda: list[tuple[Ns, int, Callable[[Ns], None]]] = []
        self._count = 0
        self._out: list[Output] = []
        self._connection: Connection | None = None
        self._connections = 0
        self._requests = 0
        self._made_ids = 0
        self._attempts = 0
        self._calls_budget = TokenBucket(20, 180, late=0)
        self._actions_budget = TokenBucket(5, 20, late=0)
        self.violations = 0
        """Calls and actions refused for their budget since the start."""
        self._violations = 0

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def due(self) -> Ns:
        """When something happens without input; NEVER when nothing will."""
        agenda = self._agenda[0][0] if self._agenda else NEVER
        return min(agenda, self.venue.due, self._feed.due)

    def advance(self, now: Ns) -> None:
        """Let everything up to ``now`` happen, in order of time."""
        if self._now is None:
            self._begin(now)
        while True:
            agenda = self._agenda[0][0] if self._agenda else NEVER
            venue, frame = self.venue.due, self._feed.due
            first = min(agenda, venue, frame)
            if first > now or first == NEVER:
                break
            if venue == first:
                self.venue.advance(first)
                self._push(first)
            elif agenda == first:
                heapq.heappop(self._agenda)[2](first)
            else:
                self._quotes(*self._feed.next())
        self._now = now if self._now is None else max(self._now, now)

    def outputs(self) -> list[Output]:
        """What there is to do since this was last asked, in order."""
        out, self._out = self._out, []
        return out

    def _at(self, when: Ns, act: Callable[[Ns], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (when, self._count, act))

    def _begin(self, now: Ns) -> None:
        """The clock is heard for the first time: what is scripted can be put on the agenda."""
        self._now = self._mishaps.start = now
        faults, at = self.faults, self._mishaps.at
        for seconds in faults.drop_at:
            self._at(at(seconds), partial(self._drop, None))
        for close in faults.close_at:
            self._at(at(close.at), partial(self._close, close.code, close.reason))
        for seconds in faults.takeover_at:
            self._at(at(seconds), self._take_over)

    def _hear(self, now: Ns) -> Ns:
        """Before an input: what is due by then happens; time doesn't go back."""
        self.advance(now)
        assert self._now is not None
        return self._now

    # --- connections ---------------------------------------------------------------------------------------------

    def connect(self, token: str | None, now: Ns) -> int | Rejection:
        """A client asks for a socket; the number of its connection, or why not. It ends the connection before it."""
        now = self._hear(now)
        self._attempts += 1
        handshake = self.faults.reject_handshake
        if handshake is not None and self._attempts <= handshake.attempts:
            return Rejection(handshake.status, _json({"error": "Handshake refused by a fault"}))
        if token != self._token:
            return Rejection(self.dialect.bad_token, _json(_UNAUTHORIZED.rest_body()))
        self._take_over(now)
        self._connections += 1
        self._violations = 0
        connection = self._connection = Connection(self._connections, Pushed(self.venue))
        if self.faults.drop_every is not None:
            self._at(now + round(self.faults.drop_every * SECOND_NS), partial(self._drop, connection))
        return connection.number

    def disconnect(self, connection: int, now: Ns) -> None:
        """That client went away. Its calls under way are carried out all the same."""
        self._hear(now)
        if self._connection is not None and self._connection.number == connection:
            self._connection = None

    def _take_over(self, _now: Ns) -> None:
        """A newer connection, seen or not, ends the one that there is."""
        dialect, faults = self.dialect, self.faults
        code = dialect.takeover_code if faults.takeover_code is None else faults.takeover_code
        reason = dialect.takeover_reason if faults.takeover_reason is None else faults.takeover_reason
        if code == NO_CLOSE_FRAME:
            self._drop(None)
        else:
            self._close(code, reason)

    def _close(self, code: int, reason: str, _now: Ns = 0) -> None:
        if self._connection is not None:
            self._out.append(Close(self._connection.number, code, reason))
            self._connection = None

    def _drop(self, only: Connection | None, _now: Ns = 0) -> None:
        if self._connection is not None and only in (None, self._connection):
            self._out.append(Drop(self._connection.number))
            self._connection = None

    def _send(self, connection: Connection, text: str | None) -> None:
        """A frame, unless it is one that isn't sent, to a connection that may be over by now."""
        if text is not None and connection is self._connection:
            self._out.append(Send(connection.number, text))

    # --- frames of clients ---------------------------------------------------------------------------------------

    def receive(self, connection: int, text: str, now: Ns) -> None:
        """A text frame came from that client. Frames of a connection that is over are ignored."""
        now = self._hear(now)
        link = self._connection
        if link is None or link.number != connection:
            return
        message = parse_client(text)
        match message:
            case Rpc():
                self._rpc(link, message, now)
            case Refusal():
                form = self.dialect.unknown_action if message.is_json else self.dialect.malformed
                self._send(link, self._speech.nonsense(form, message.id, message.text))
                if form is Answer.CLOSE:
                    self._close(NONSENSE_CODE, "Invalid request")
            case Ping():
                self._send(link, self._speech.pong())
            case _:
                self._act(link, message, now)

    def _act(self, link: Connection, message: Subscribe | Unsubscribe | StreamPnl, now: Ns) -> None:
        if not self._actions_budget.take(now):
            action = type(message).__struct_config__.tag
            self._send(link, encode_server(RpcError(None, RATE_LIMIT, fields={"action": action})))
            self._violate()
            return
        self._violations = 0
        match message:
            case Subscribe(events=()):
                sorted_out = link.subscribe(message.instruments, self._feed)
                self._acknowledge(link, self.dialect.subscribe_word, "unknown instrument", sorted_out)
            case Subscribe():
                self._subscribe_events(link, message)
            case Unsubscribe():
                sorted_out = link.unsubscribe(message.instruments)
                self._acknowledge(link, self.dialect.unsubscribe_word, "not subscribed by that name", sorted_out)
            case StreamPnl():
                self._stream(link, message, now)

    def _acknowledge(self, link: Connection, word: str, why: str, sorted_out: tuple[dict[str, str], list[str]]) -> None:
        good, bad = sorted_out
        if good:
            self._send(link, self._speech.acknowledged(word, good))
        if bad:
            self._send(link, self._speech.unknown(word, why, bad))

    def _subscribe_events(self, link: Connection, message: Subscribe) -> None:
        told: dict[str, Any] = {"events": message.events}
        if message.origin is not None:
            told["origin"] = message.origin
        if self.dialect.events is Events.NONE or message.origin != self.dialect.events.origin:
            why = "events are not served here: none are known for NinjaTrader"
            self._send(link, encode_server(Status("error", {"error": f"Invalid request: {why}", **told})))
            return
        link.pushed.want(message.events)
        self._send(link, encode_server(Status("subscribed", told)))

    def _push(self, now: Ns) -> None:
        """Tell the connection of what happened at the venue, if it wants to know."""
        link = self._connection
        if link is not None and link.pushed.is_on and not self._mishaps.is_offline(now):
            for what, row, seq in link.pushed.news():
                self._send(link, self._speech.event(what, row, seq, now))

    # --- streams -------------------------------------------------------------------------------------------------

    def _quotes(self, stamp: Ns, frame: Sequence[Quote]) -> None:
        """A frame of the feed: to the venue, and to the client what it is subscribed to."""
        self.venue.quotes(frame)
        self._push(stamp)
        link = self._connection
        if link is None or not link.wanted:
            return
        if self._mishaps.is_silent(stamp) or self._mishaps.is_offline(stamp):
            return
        rows = tuple(
            WireQuote(quote.instrument, quote.bid, quote.ask, quote.last, quote.volume)
            for quote in frame
            if quote.instrument in link.wanted
        )
        if self.dialect.quote_repeats is Repeats.CHANGES:
            rows = tuple(row for row in rows if link.quotes.get(row.instrument) != row)
            link.quotes.update((row.instrument, row) for row in rows)
        if not rows:
            return
        text = self._speech.market(self.venue, rows)
        self._send(link, text)
        if self._mishaps.happens("garbage", self.faults.garbage):
            self._send(link, self._mishaps.garbage(text))

    def _stream(self, link: Connection, message: StreamPnl, now: Ns) -> None:
        link.stream += 1
        if not message.enabled:
            self._send(link, self._speech.streaming(False, None))
            return
        interval = max(self.dialect.pnl_floor, message.interval or 1_000)
        self._send(link, self._speech.streaming(True, interval))
        span = interval * MILLISECOND_NS
        self._at(now + span, partial(self._pnl, link, link.stream, span))

    def _pnl(self, link: Connection, stream: int, span: Ns, now: Ns) -> None:
        if link is not self._connection or link.stream != stream:
            return
        if not self._mishaps.is_offline(now):
            self._send(link, self._speech.pnl(self.venue, now))
        self._at(now + span, partial(self._pnl, link, stream, span))

    # --- budgets -------------------------------------------------------------------------------------------------

    def _afford(self, now: Ns) -> bool:
        """Whether a call is within the budget; its token is taken."""
        if self._mishaps.happens("rate_refusal", self.faults.rate_refusal) or not self._calls_budget.take(now):
            return False
        self._violations = 0
        return True

    def _violate(self) -> None:
        self.violations += 1
        self._violations += 1
        if self._violations >= ABUSE:
            self._violations = 0
            self._close(ABUSE_CODE, RATE_LIMIT)

    # --- calls over the socket -----------------------------------------------------------------------------------

    def _rpc(self, link: Connection, call: Rpc, now: Ns) -> None:
        key = call.id
        if key is None:
            self._made_ids += 1
            key = f"srv-{self._made_ids}"
        if not self._afford(now):
            self._send(link, self._speech.error(self.dialect.rate_error, key, self.dialect.rate_text))
            self._violate()
            return
        if self._mishaps.happens("lose_request", self.faults.lose_request):
            return
        self._at(now + self._entry, partial(self._carry_out, link, key, call))

    def _carry_out(self, link: Connection, key: str, call: Rpc, now: Ns) -> None:
        outcome = self._extras.carry_out(call.api, call.args, call.origin, now)
        self._follow(call.api, outcome, partial(self._reply, link, key), now)

    def _follow(self, api: str, outcome: Outcome | Underway, tell: Callable[[Outcome, Ns], None], now: Ns) -> None:
        """Tell how a call ended: now, or when the steps that it waits between are through."""
        self._push(now)
        if isinstance(outcome, Underway):
            self._at(outcome.due, lambda now: self._follow(api, outcome.go_on(now), tell, now))
        else:
            tell(self.dressed(api, outcome), now)

    def _reply(self, link: Connection, key: str, outcome: Outcome, now: Ns) -> None:
        if self._mishaps.happens("lose_reply", self.faults.lose_reply):
            return
        text = self._frame(key, outcome)
        times = 2 if self._mishaps.happens("double_reply", self.faults.double_reply) else 1
        delay = self.faults.delay_reply
        late = round(delay.seconds * SECOND_NS) if self._mishaps.happens("delay_reply", delay.probability) else 0
        for _ in range(times):
            if late:
                self._at(now + late, lambda _now: self._send(link, text))
            else:
                self._send(link, text)

    def _frame(self, key: str, outcome: Outcome) -> str | None:
        """The answer on the socket."""
        if outcome.error is None:
            return encode_server(outcome.frame(key))
        dialect = self.dialect
        place = dialect.gateway_error if outcome.gateway else dialect.refusal_error
        if outcome.gateway and outcome.status == 404:
            place = dialect.unknown_api
        return self._speech.error(place, key, outcome.error, outcome.detail)

    # --- calls over REST -----------------------------------------------------------------------------------------

    def request(self, token: str | None, method: str, path: str, query: Mapping[str, str], body: bytes, now: Ns) -> int:
        """A REST request (``path`` percent-encoded, without its query); its number, which an output will answer."""
        now = self._hear(now)
        self._requests += 1
        number = self._requests
        if token != self._token:
            self._respond(number, _UNAUTHORIZED)
        elif not path.startswith(PREFIX):
            self._respond(number, Outcome(error=f"Not found: the API is under {PREFIX}", status=404))
        elif not self._afford(now):
            wait = max(1, -(-self._calls_budget.delay(now) // SECOND_NS))
            self._answer(number, 429, {"error": RATE_LIMIT}, {"Retry-After": str(wait)})
            self._violate()
        else:
            call = read_request(method, path, query, body)
            if isinstance(call, Outcome):
                self._respond(number, call)
            elif self._mishaps.happens("lose_request", self.faults.lose_request):
                self._at(now + self._entry, lambda _now: self._respond(number, LOST))
            else:
                self._at(now + self._entry, lambda now: self._serve(number, call, now))
        return number

    def dressed(self, api: str, outcome: Outcome) -> Outcome:
        """An outcome in the form that its body has in this server's dialect."""
        return self._extras.dressed(api, outcome)

    def _serve(self, number: int, call: RestCall, now: Ns) -> None:
        outcome = self._extras.carry_out(call.api, call.args, call.origin, now)
        self._follow(call.api, outcome, partial(self._answer_rest, number), now)

    def _answer_rest(self, number: int, outcome: Outcome, now: Ns) -> None:
        if self._mishaps.happens("lose_reply", self.faults.lose_reply):
            outcome = LOST
        delay = self.faults.delay_reply
        if self._mishaps.happens("delay_reply", delay.probability):
            self._at(now + round(delay.seconds * SECOND_NS), lambda _now: self._respond(number, outcome))
        else:
            self._respond(number, outcome)

    def _respond(self, number: int, outcome: Outcome) -> None:
        self._answer(number, outcome.status, outcome.rest_body())

    def _answer(self, number: int, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        head = {"Content-Type": "application/json", **(headers or {})}
        self._out.append(Response(number, status, head, _json(body)))


_json: Final = msgspec.json.Encoder().encode

_UNAUTHORIZED: Final = Outcome(error="Unauthorized: the token is missing or wrong", status=401)
