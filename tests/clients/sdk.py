"""The Python nostr-sdk: a plain job and a secret one."""
import asyncio
import datetime
import json
import re
import sys

from nostr_sdk import ClientBuilder, EventBuilder, Filter, Keys, Kind, Nip44Version, PublicKey, RelayUrl, ReqTarget, Tag
from nostr_sdk import nip44_decrypt, nip44_encrypt


def say(who, event, hidden=""):
    tags = [tag for tag in json.loads(event.as_json())["tags"] if tag[0] != "request"]
    text = f"{who} {event.kind().as_u16()} {json.dumps(tags)} {event.content()[:100]}"
    print(re.sub(r"[0-9a-f]{64}", lambda id: id[0][:8], text) + (f" = {hidden}" if hidden else ""))


async def main():
    url, agent = sys.argv[1], PublicKey.parse(sys.argv[2])
    keys = Keys.generate()
    client = ClientBuilder().build()
    await client.add_relay(RelayUrl.parse(url))
    await client.connect()

    async def ask(content, tags):
        builder = EventBuilder(Kind(5400), content).tags([Tag.parse(tag) for tag in tags + [["p", agent.to_hex()]]])
        request = builder.finalize(keys)
        say("->", request)
        await client.send_event(request)
        told = set()
        for _ in range(100):
            await asyncio.sleep(0.1)
            wanted = Filter().kinds([Kind(7000), Kind(6400)]).event(request.id())
            found = await client.fetch_events(ReqTarget.auto([wanted]))
            for event in sorted(found, key=lambda event: -event.kind().as_u16()):
                if event.id().to_hex() in told:
                    continue
                told.add(event.id().to_hex())
                assert event.verify() and event.author() == agent
                secret = any(tag.to_vec()[0] == "encrypted" for tag in event.tags())
                say("<-", event, nip44_decrypt(keys.secret_key(), agent, event.content()) if secret else "")
            if any(event.kind().as_u16() == 6400 for event in found):
                return
        raise SystemExit("no result")

    print("### Python nostr-sdk, plain")
    await ask('{"kinds": [1]}', [])
    print("\n### Python nostr-sdk, in secret")
    hidden = json.dumps([["i", '{"kinds": [7]}', "text"]])
    await ask(nip44_encrypt(keys.secret_key(), agent, hidden, Nip44Version.V2), [["encrypted"]])


asyncio.run(main())
