-- Waits for transactions that are about to refer to a document, and keeps others from it until this one ends.
lock table document in exclusive mode
