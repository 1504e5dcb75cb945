"""The client of CrossTrade's article on its WebSocket API, against a server of one's own.

    python article_client.py URI TOKEN MESSAGES [SECONDS]

What is changed, each marked with "changed:" below: address and token come from the command line; today's websockets
calls the headers `additional_headers` (the article's `extra_headers` is gone since version 14); it ends after so many
messages, so that a test ends; and the poller's ten seconds may be fewer. Source:
blog.crosstrade.io/stream-ninjatrader-market-data-with-python
"""

# ruff: noqa
# fmt: off
import asyncio
import websockets
import json
import sys
from datetime import datetime

# CONFIGURATION
API_TOKEN = sys.argv[2]  # changed: from the command line
URI = sys.argv[1]  # changed: from the command line
MESSAGES = int(sys.argv[3])  # changed: new
SECONDS = float(sys.argv[4]) if len(sys.argv) > 4 else 10  # changed: new


async def poll_positions(websocket):
    """Every 10 seconds, request ListPositions for Sim101."""
    count = 0
    while True:
        await asyncio.sleep(SECONDS)  # changed: was 10
        msg = {
            "action": "rpc",
            "id": f"poll-positions-{count}",
            "api": "ListPositions",
            "args": {"account": "Sim101"}
        }
        await websocket.send(json.dumps(msg))
        print(datetime.now(), "📤 Sent ListPositions request", msg)


async def myapp():
    headers = {
        "Authorization": f"Bearer {API_TOKEN}"
    }

    print(f"Connecting to {URI}...")

    try:
        async with websockets.connect(URI, additional_headers=headers) as websocket:  # changed: was extra_headers
            print("✅ Connected!")

            # 1. Subscribe to Market Data
            await websocket.send(json.dumps({
                "action": "subscribe",
                "instruments": ["ES 06-26", "MNQ 06-26"]
            }))
            print("📤 Sent Market Sub")

            # 2. Enable PnL Streaming
            await websocket.send(json.dumps({
                "action": "streamPnl",
                "enabled": True
            }))
            print("📤 Sent PnL Enable")

            # 3. Kick off the position poller as a background task
            poller = asyncio.create_task(poll_positions(websocket))

            # 4. Listen loop
            try:
                for _ in range(MESSAGES):  # changed: was while True
                    response = await websocket.recv()
                    data = json.loads(response)
                    msg_type = data.get('type')

                    if 'status' in data:
                        print(datetime.now(), f"ⓘ Status: {data}")

                    elif msg_type == 'marketData':
                        summary = [f"{q['instrument']}: {q['bid']} x {q['ask']}" for q in data.get('quotes', [])]
                        print(datetime.now(), f"📈 Market Data: {summary}")

                    elif msg_type == 'pnlUpdate':
                        accounts = data.get('accounts', [])
                        print(datetime.now(), f"💰 PnL Update: {len(accounts)} active account(s)")

                    # RPC responses — keyed by id
                    elif 'id' in data and 'data' in data:
                        rpc_id = data['id']
                        rpc_data = data['data']
                        if 'poll-positions' in rpc_id:
                            positions = rpc_data.get('positions', [])
                            print(datetime.now(), f"📋 Positions ({len(positions)}): {json.dumps(positions, indent=2)}")
                        else:
                            print(datetime.now(), f"🔁 RPC [{rpc_id}]: {json.dumps(rpc_data, indent=2)}")

                    else:
                        print(datetime.now(), f"❓ Unknown: {data}")

            finally:
                poller.cancel()

    except websockets.exceptions.ConnectionClosed as e:
        print(f"❌ Connection Closed: {e.code} - {e.reason}")
    except Exception as e:
        print(f"❌ Error: {e}")


if __name__ == "__main__":
    asyncio.run(myapp())
