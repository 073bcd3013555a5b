-- Makes the transaction durable with the next one that is, instead of waiting for the disk.
set local synchronous_commit = off
