"""A relay of the Python nostr-sdk's, on a port."""
import asyncio
import sys

from nostr_sdk import LocalRelayBuilder


async def main():
    relay = LocalRelayBuilder().port(int(sys.argv[1])).build()
    await relay.run()
    await asyncio.sleep(3600)


asyncio.run(main())
