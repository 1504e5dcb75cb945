"""``xtalgo rpc``: any function of the API by hand."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from xtalgo.app.commands.options import CODES, WHAT, WHERE, ConfigOption, TokenOption, UrlOption, option, switch

__all__ = ["EPILOGUE", "rpc"]

EPILOGUE = f"""
**What it does.** Names and values are looked at before anything is sent: what can't be right is refused with the
nearest right word. A function that acts at the venue is shown and asked about first, once; where there is no terminal
it needs `--yes`. On an account that is not known to be a simulator it needs `--live`, unless it can only cancel and
close. A call whose answer is lost ends with code 9: it may have been carried out, and is never sent again.

It goes over REST, so it never takes the socket from a run. With `--ws` the call itself goes over the socket, of which
there is one per user: a run on this machine is not disturbed (the command is refused), one elsewhere would be thrown
out.

**Several accounts.** `--accounts A,B` makes the call for each, one after another: what reduces a position first, the
largest exposure before the others, then what opens, the smallest first. The order and the cost in requests are shown
before. Each account's outcome is told; code 9 when one of them may have been carried out, 2 when one was refused.

**Output.** Fields by the venue's own names; lists are tables. `--json` prints the body that came, unchanged but on one
line; oddities are told on standard error.

{CODES}
"""


def rpc(
    name: Annotated[
        str | None, Parameter(name="NAME", help="The function, such as ListOrders; with --list a part.", group=WHAT)
    ] = None,
    /,
    *arguments: Annotated[
        str, Parameter(name="KEY=VALUE", help="Its arguments, such as account=Sim101, as many as follow.", group=WHAT)
    ],
    list_: Annotated[
        bool,
        Parameter(
            name="--list",
            help="List the functions, or those a word is in, or all about one: arguments, routes, how certain it is.",
            group=WHAT,
            negative="",
            show_default=False,
        ),
    ] = False,
    accounts: Annotated[
        tuple[str, ...],
        option(
            WHAT,
            "NAMES",
            "Call it for each of these accounts, with commas: what reduces first; order and cost are shown before.",
        ),
    ] = (),
    yes: Annotated[bool, switch(WHAT, "Don't ask at the terminal.")] = False,
    everything: Annotated[
        bool, switch(WHAT, "A function that acts on every account is meant to (FlattenEverything, CancelAllOrders).")
    ] = False,
    live: Annotated[bool, switch(WHAT, "Allow accounts that are no simulators.")] = False,
    ws: Annotated[bool, switch(WHERE, "Over the socket instead of REST.")] = False,
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: Annotated[bool, switch(WHERE, "Print the venue's own body, or the list's objects, one a line.")] = False,
) -> None:
    """Call any function of CrossTrade's API, or list them all.

    `xtalgo rpc ListPositions account=Sim101` or `xtalgo rpc PlaceOrder --list`
    """
    if list_:
        from xtalgo.app.rpctable import show_functions

        show_functions([*([] if name is None else [name]), *arguments], is_json=json)
        return
    from xtalgo.app.operator import Reach
    from xtalgo.app.rpc import RpcRequest
    from xtalgo.app.rpc import rpc as call

    request = RpcRequest(name=name, words=arguments, ws=ws, yes=yes, everything=everything, live=live)
    reach = Reach(url=url, token_file=token_file, config=config, json=json)
    if accounts:
        from xtalgo.app.rpcgroup import rpc_for_accounts

        rpc_for_accounts(reach, request, accounts)
    else:
        call(reach, request)
