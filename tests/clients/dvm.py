"""nostr-dvm's bot as a customer: it turns a direct message into a job request and sends the result back as a direct message."""
import asyncio
import os
import sys
import tempfile
import threading

from nostr_sdk import ClientBuilder, EventBuilder, Filter, Keys, Kind, RelayUrl, ReqTarget, Tag, nip04_decrypt, nip04_encrypt

url, agent = sys.argv[1:]
# The bot writes its database into the current folder.
os.chdir(tempfile.mkdtemp(dir="."))

from nostr_dvm.bot import Bot
from nostr_dvm.utils.dvmconfig import DVMConfig
from nostr_dvm.utils.external_dvm_utils import build_external_dvm
from nostr_dvm.utils.output_utils import PostProcessFunctionType

out = os.fdopen(os.dup(1), "w", buffering=1)
# The output of the bot goes to a file.
os.dup2(os.open("bot.log", os.O_WRONLY | os.O_CREAT), 1)
bot, person = Keys.generate(), Keys.generate()
config = DVMConfig()
config.PRIVATE_KEY = bot.secret_key().to_hex()
config.RELAY_LIST = config.ANNOUNCE_RELAY_LIST = config.SYNC_DB_RELAY_LIST = [url]
config.SUPPORTED_DVMS = [
    build_external_dvm(agent, task="search", kind=Kind(5302), fix_cost=0, per_unit_cost=0, config=config,
                       external_post_process=PostProcessFunctionType.LIST_TO_EVENTS)
]
threading.Thread(target=Bot, args=[config], daemon=True).start()


async def main():
    client = ClientBuilder().build()
    await client.add_relay(RelayUrl.parse(url))
    await client.connect()
    await asyncio.sleep(3)
    told = set()

    async def ask(text):
        print("->", text, file=out)
        secret = nip04_encrypt(person.secret_key(), bot.public_key(), text)
        message = EventBuilder(Kind(4), secret).tags([Tag.parse(["p", bot.public_key().to_hex()])]).finalize(person)
        await client.send_event(message)

    async def answer(wanted):
        for _ in range(200):
            await asyncio.sleep(0.1)
            found = await client.fetch_events(ReqTarget.auto([Filter().kind(Kind(4)).author(bot.public_key())]))
            for event in found:
                text = nip04_decrypt(person.secret_key(), bot.public_key(), event.content())
                if event.id().to_hex() not in told and wanted(text):
                    told.add(event.id().to_hex())
                    print("<-", " | ".join(text.split("\n"))[:200], file=out)
                    return text
        raise RuntimeError("the bot does not answer")

    async def requests():
        found = await client.fetch_events(ReqTarget.auto([Filter().kind(Kind(5302)).author(bot.public_key())]))
        return [[tag.to_vec() for tag in event.tags()] for event in found]

    print("\n### nostr-dvm, its bot", file=out)
    await ask("1 info")
    info = await answer(lambda text: "Cashu accepted" in text or "No NIP89" in text)
    assert "Name: Brotr" in info and "-max_results" in info, "the bot does not read the announcement"
    await ask("1 great small -max_results 3")
    notes = await answer(lambda text: "nostr:" in text)
    assert notes.count("nostr:note1") == 1, "not the note that was searched for"

    print("\n### nostr-dvm, in secret", file=out)
    config.SUPPORTED_DVMS[0].SUPPORTS_ENCRYPTION = True
    await ask("1 great small -max_results 3")
    again = await answer(lambda text: "nostr:" in text)
    assert again == notes, "another answer than before"
    assert sorted(["encrypted"] in tags for tags in await requests()) == [False, True], "the request is not encrypted"


try:
    asyncio.run(main())
    code = 0
except Exception as error:
    print("!!", repr(error), file=sys.stderr)
    code = 1
out.flush()
# The threads of the bot never end.
os._exit(code)
