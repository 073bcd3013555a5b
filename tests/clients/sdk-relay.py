"""The Python nostr-sdk reads the relay server: fetch_events, COUNT, and NIP-77."""
import asyncio
import datetime
import os
import subprocess
import sys
import tempfile

from nostr_sdk import ClientBuilder, Event, EventBuilder, Filter, Keys, Kind, NostrLmdb, NostrSdkError, RelayUrl, ReqTarget
from nostr_sdk import SyncDirection, SyncOptions, uniffi_set_event_loop

BROTR = os.environ["BROTR"]


def same(what, got, wanted):
    got, wanted = sorted(got), sorted(wanted)
    if got != wanted:
        raise SystemExit(f"!! {what}: {len(got)} of {len(wanted)}, missing {list(set(wanted) - set(got))[:3]}")
    print(f"-- {what}: {len(got)} of {len(wanted)} events")


def ids(events):
    return [event.id().to_hex() for event in events]


def ids_of(ids):
    return [id.to_hex() for id in ids]


async def main():
    uniffi_set_event_loop(asyncio.get_running_loop())
    url = RelayUrl.parse(sys.argv[1])
    lines = subprocess.run([BROTR, "query"], check=True, capture_output=True, text=True).stdout.splitlines()
    archived = [Event.from_json(line) for line in lines]
    client = ClientBuilder().build()
    await client.add_relay(url)
    await client.connect()
    relay = await client.relay(url)
    second = datetime.timedelta(seconds=1)

    print("\n### Python nostr-sdk, relay server")
    found = await client.fetch_events(ReqTarget.auto([Filter().kinds([Kind(3)])]))
    same("fetch_events of kind 3", ids(found), ids(event for event in archived if event.kind().as_u16() == 3))
    # nostr-sdk 0.45.1 sometimes misses a COUNT that arrives before it listens.
    for tries_left in (2, 1, 0):
        try:
            count = await relay.count_events(Filter().kinds([Kind(1)]), 5 * second)
            break
        except NostrSdkError:
            if not tries_left:
                raise
    if count != sum(event.kind().as_u16() == 1 for event in archived):
        raise SystemExit(f"!! COUNT of kind 1: {count}")
    print("-- COUNT of kind 1:", count)

    print("\n### Python nostr-sdk, NIP-77")
    own = EventBuilder(Kind(1), "only here").finalize(Keys.generate())
    known = archived[::3]
    with tempfile.TemporaryDirectory() as folder:
        database = await NostrLmdb.open(folder)
        for event in [*known, own]:
            await database.save_event(event)
        client = ClientBuilder().database(database).build()
        await client.add_relay(url)
        await client.connect()
        both = SyncOptions().direction(SyncDirection.BOTH)
        told = (await asyncio.wait_for(client.sync(Filter(), None, both), 60)).report
        same("held by the client only", ids_of(told.local), ids([own]))
        same("needed, and fetched", ids_of(told.received), set(ids(archived)) - set(ids(known)))
        same("sent", ids_of(told.sent), [])
        [[failure]] = told.send_failures.values()
        print("-- refused:", failure.error)
        same("in the database then", ids(await database.query(Filter())), ids([*archived, own]))


asyncio.run(main())
