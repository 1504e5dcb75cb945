import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.engine.series import BufferSeries, Columns, QuoteTable, RecordedSeries, Window
from xtalgo.model.errors import DataError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook

ES, NQ, CL = NAMES = ("ES 06-26", "NQ 06-26", "CL 07-26")
NAN = float("nan")
COLUMNS = ("ts", "bid", "ask", "last", "volume", "bid_size", "ask_size")


def contract(name=ES):
    return ContractBook().contract(name)


def table_of(quotes):
    def told(field, unknown):
        return [unknown if getattr(q, field) is None else getattr(q, field) for q in quotes]

    return QuoteTable.from_rows(
        NAMES,
        [NAMES.index(q.instrument) for q in quotes],
        told("ts", None),
        told("bid", None),
        told("ask", None),
        told("last", NAN),
        told("volume", -1),
        told("bid_size", -1),
        told("ask_size", -1),
    )


@st.composite
def recordings(draw, max_size=40, has_last=False):
    """Quotes in order of time, ties included, with anything but bid and ask untold now and then."""
    size = st.none() | st.integers(0, 500)
    last = st.integers(0, 40_000) if has_last else st.none() | st.integers(0, 40_000)
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.integers(1, 40_000), last, size, size, size),
            max_size=max_size,
        )
    )
    quotes, ts = [], 1_700_000_000_000_000_000
    for name, gap, bid, traded, volume, bid_size, ask_size in rows:
        ts += gap
        tick = contract(name)
        price = None if traded is None else tick.to_price(traded)
        bid, ask = tick.to_price(bid), tick.to_price(bid + gap + 1)
        quotes.append(Quote(ts, name, bid, ask, price, volume, bid_size, ask_size))
    return quotes


def feed(series, quotes):
    """What the engine does with a quote."""
    for quote in quotes:
        series.count += 1
        series.quote = quote
        for listener in series.listeners:
            listener(quote)


def quotes_of(count, name=ES, start=0):
    return [Quote(i, name, 4000 + i * 0.25, 4000.25 + i * 0.25, None, i, i % 7, None) for i in range(start, count)]


def assert_same(got, expected):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


# --- tables


@settings(deadline=None, max_examples=50)
@given(recordings(), st.data())
def test_a_table_gives_back_the_quotes_it_was_made_of(quotes, data):
    table = table_of(quotes)
    assert len(table) == len(quotes)
    assert table.quotes(0, len(quotes)) == quotes
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(quotes))] * 2)))
    assert table.quotes(start, stop) == quotes[start:stop]
    assert table.stamps(start, stop) == [q.ts for q in quotes[start:stop]]
    assert [table.instruments[k] for k in table.codes(start, stop)] == [q.instrument for q in quotes[start:stop]]


@settings(deadline=None, max_examples=50)
@given(recordings())
def test_each_instrument_is_a_slice_of_its_own_quotes_in_order(quotes):
    table = table_of(quotes)
    for name in NAMES:
        own = [q for q in quotes if q.instrument == name]
        rows = table.rows(name)
        assert table.ts[rows].tolist() == [q.ts for q in own]
        assert table.bid[rows].tolist() == [q.bid for q in own]
        assert table.ask[rows].tolist() == [q.ask for q in own]
    assert table.offsets[0] == 0
    assert table.offsets[-1] == len(quotes)


@settings(deadline=None, max_examples=50)
@given(recordings(), st.integers(0, 45))
def test_a_head_is_the_table_of_the_first_quotes(quotes, count):
    head, expected = table_of(quotes).head(count), table_of(quotes[:count])
    assert (head.instruments, head.offsets) == (expected.instruments, expected.offsets)
    for column in (*COLUMNS, "order"):
        assert_same(getattr(head, column), getattr(expected, column))


def test_ties_keep_the_order_of_the_rows():
    table = QuoteTable.from_rows(NAMES, [2, 0, 2, 1, 0], [5, 5, 5, 5, 5], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6])
    assert [(q.instrument, q.bid) for q in table.quotes(0, 5)] == [(CL, 1), (ES, 2), (CL, 3), (NQ, 4), (ES, 5)]
    assert table.bid.tolist() == [2, 5, 4, 1, 3]


def test_what_was_not_told_is_none_in_quotes_and_marked_in_columns():
    table = QuoteTable.from_rows((ES,), [0, 0], [1, 2], [1.0, 1.0], [2.0, 2.0])
    assert table.quotes(0, 2)[0] == Quote(1, ES, 1.0, 2.0, None, None, None, None)
    assert np.isnan(table.last).all()
    for column, dtype in (("volume", np.int64), ("bid_size", np.int32), ("ask_size", np.int32)):
        assert getattr(table, column).tolist() == [-1, -1]
        assert getattr(table, column).dtype == dtype
    assert not table.has_sizes
    mixed = QuoteTable.from_rows((ES,), [0, 0], [1, 2], [1, 1], [2, 2], [NAN, 1.5], [-1, 7], [0, -1], [-1, -1])
    assert [(q.last, q.volume, q.bid_size, q.ask_size) for q in mixed.quotes(0, 2)] == [
        (None, None, 0, None),
        (1.5, 7, None, None),
    ]
    assert mixed.has_sizes


@pytest.mark.parametrize(("stamps", "row"), [([3, 2], 1), ([1, 2, 2, 9, 8, 7], 4)])
def test_time_that_goes_back_is_refused_with_the_row(stamps, row):
    ones = [1.0] * len(stamps)
    with pytest.raises(DataError, match=f"row {row}: time goes back"):
        QuoteTable.from_rows(NAMES, [0] * len(stamps), stamps, ones, ones)


def test_tables_are_read_only_and_their_own():
    bid = np.array([1.0, 2.0])
    table = QuoteTable.from_rows(NAMES, [0, 0], [1, 2], bid, bid)
    bid[0] = 9.0
    assert table.bid[0] == 1.0
    for column in (*COLUMNS, "order"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, column)[0] = 5


def test_an_instrument_without_quotes_is_an_empty_slice():
    table = QuoteTable.from_rows(NAMES, [0, 2], [1, 2], [1, 2], [2, 3])
    assert table.ts[table.rows(NQ)].tolist() == []
    assert [q.instrument for q in table.quotes(0, 2)] == [ES, CL]
    assert len(QuoteTable.from_rows(NAMES, [], [], [], [])) == 0


# --- windows and columns, recorded and live


def both(quotes):
    return RecordedSeries(contract(), table_of(quotes)), BufferSeries(contract())


@settings(deadline=None, max_examples=50)
@given(
    recordings(max_size=60, has_last=True),
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=4),
)
def test_a_recording_and_a_buffer_show_the_same(quotes, wanted):
    """Views of several sizes, asked for at several moments, over the same quotes from two kinds of past."""
    own = [q for q in quotes if q.instrument == ES]
    recorded, live = both(quotes)
    views = []
    for i, quote in enumerate(own):
        for moment, size in wanted:
            if moment == i:
                views += [(make(recorded, size), make(live, size), i) for make in (Window, Columns)]
        feed(recorded, [quote])
        feed(live, [quote])
        for one, other, since in views:
            past = own[since : i + 1][-one.size :]
            assert len(one) == len(other) == len(past)
            assert one.full is other.full is (i + 1 - since >= one.size)
            assert one.ts.tolist() == [q.ts for q in past]
            for name in (*COLUMNS, "mid"):
                assert_same(getattr(one, name), getattr(other, name))
            if isinstance(one, Window):
                assert one.bid.tolist() == [q.bid for q in past]
                assert one.last.tolist() == [q.last for q in past]
                assert one.mid.tolist() == [q.mid for q in past]
            else:
                assert one.bid.tolist() == [contract().to_ticks(q.bid) for q in past]
                assert one.ask.dtype == one.last.dtype == np.int64
                assert one.mid.tolist() == [contract().to_ticks(q.bid + q.ask) / 2 for q in past]
            assert one.volume.tolist() == [-1 if q.volume is None else q.volume for q in past]


@pytest.mark.parametrize("size", [3, 300, 1500])
def test_they_show_the_same_across_moves_of_the_buffer(size):
    quotes = quotes_of(11_000)
    recorded, live = both(quotes)
    views = [(make(recorded, size), make(live, size)) for make in (Window, Columns)]
    moves, buffer = 0, None
    for i, quote in enumerate(quotes):
        feed(recorded, [quote])
        feed(live, [quote])
        for one, other in views:
            if other.bid.base is not buffer and isinstance(other, Window):
                moves, buffer = moves + 1, other.bid.base
            if i % 97 == 0 or i % 1024 in (0, 1, 1023):
                for name in ("ts", "bid", "ask", "mid", "volume", "bid_size", "ask_size"):
                    assert_same(getattr(other, name), getattr(one, name))
    assert moves >= 3


def test_a_window_that_grows_keeps_what_was_there():
    recorded, live = both(quotes_of(5000))
    small = [Window(series, 5) for series in (recorded, live)]
    large = []
    for i, quote in enumerate(quotes_of(5000)):
        if i == 700:
            large = [Window(series, 2000) for series in (recorded, live)]
        feed(recorded, [quote])
        feed(live, [quote])
        if i in (699, 700, 703, 1024, 2700, 4999):
            assert_same(small[0].bid, small[1].bid)
            assert len(small[0]) == 5
            for one, other in [large] * bool(large):
                assert_same(one.bid, other.bid)
                assert len(one) == len(other) == min(2000, i - 699)


@pytest.mark.parametrize("kind", [0, 1])
def test_only_quotes_since_it_was_made_are_in_a_window(kind):
    quotes = quotes_of(20)
    series = both(quotes)[kind]
    early = Window(series, 4)
    feed(series, quotes[:10])
    late = Window(series, 4)
    assert len(late) == 0
    assert late.bid.tolist() == late.mid.tolist() == []
    assert not late.full
    feed(series, quotes[10:12])
    assert late.ts.tolist() == [10, 11]
    assert early.ts.tolist() == [8, 9, 10, 11]
    feed(series, quotes[12:])
    assert late.ts.tolist() == early.ts.tolist() == [16, 17, 18, 19]
    assert late.full


def test_a_window_made_during_a_quote_starts_with_the_next_one():
    for series in both(quotes_of(5)):
        made = []
        series.listen([lambda _, series=series, made=made: made.append(Window(series, 3))])
        feed(series, quotes_of(2))
        assert [w.ts.tolist() for w in made] == [[1], []]
        feed(series, quotes_of(3, start=2))
        assert [w.ts.tolist() for w in made] == [[1, 2], [2], []]


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("make", [Window, Columns])
def test_views_are_read_only(kind, make):
    quotes = [Quote(i, ES, 4000.0, 4000.25, 4000.0, 1, 1, 1) for i in range(6)]
    series = both(quotes)[kind]
    view = make(series, 4)
    feed(series, quotes)
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(view, name)[0] = 5


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("make", [Window, Columns])
def test_a_kept_array_never_changes(kind, make):
    quotes = quotes_of(6000)
    series = both(quotes)[kind]
    view = make(series, 50)
    kept = []
    for i, quote in enumerate(quotes):
        feed(series, [quote])
        if i % 101 == 0:
            kept += [(array, array.copy()) for array in (getattr(view, n) for n in ("ts", "bid", "mid", "volume"))]
    for array, then in kept:
        assert_same(array, then)


def test_ticks_are_exact_where_floats_are_not():
    quotes = [Quote(i, CL, round(70 + i * 0.01, 2), round(70.01 + i * 0.01, 2)) for i in range(500)]
    for series in (RecordedSeries(contract(CL), table_of(quotes)), BufferSeries(contract(CL))):
        columns = Columns(series, 500)
        feed(series, quotes)
        assert columns.tick_size == 0.01
        assert columns.bid.tolist() == list(range(7000, 7500))
        assert columns.mid.tolist() == [t + 0.5 for t in range(7000, 7500)]


@pytest.mark.parametrize("told", [(), (0, 2)])
def test_a_last_price_that_was_not_told_has_no_ticks(told):
    quotes = [Quote(i, ES, 4000.0, 4000.25, 4000.0 if i in told else None) for i in range(3)]
    for series in both(quotes):
        window, columns = Window(series, 3), Columns(series, 3)
        feed(series, quotes)
        assert np.isnan(window.last).tolist() == [i not in told for i in range(3)]
        with pytest.raises(DataError, match=f"{ES}: .*last"):
            _ = columns.last


def test_listeners_are_called_in_order_after_the_quote_is_recorded():
    for series in both(quotes_of(2)):
        window = Window(series, 2)
        heard = []
        series.listen(
            [
                lambda q, window=window, heard=heard: heard.append(("first", q.ts, window.ts.tolist())),
                lambda q, heard=heard: heard.append(("second", q.ts)),
            ]
        )
        feed(series, quotes_of(2))
        assert heard == [("first", 0, [0]), ("second", 0), ("first", 1, [0, 1]), ("second", 1)]
