-- Changes the number that changes with every change of the runs.
update archive set runs = runs + 1 returning runs
