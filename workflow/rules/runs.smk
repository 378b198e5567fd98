# What each run is: the config's runs with every default filled in, and those that the studies add.
# A run is a method, where its encoder comes from, what deviates, and the protocol it runs under.

FROM_EPOCHS = config["finetune"]["from_epochs"]
LAST_EPOCH = config["pretrain"]["epochs"]
TESTED = config["finetune"].get("test", True)
DEFAULTS = {
    **{entry["key"]: entry["default"] for entry in LEDGER if entry["where"] == "protocol"},
    "label_share": 1.0,
}
PROTOCOL = {**DEFAULTS, **config.get("protocol", {})}


def merged(old, new):
    """Settings `new` over `old`; nested ones too, unless they are of another kind."""
    result = {**old, **new}
    for key in old.keys() & new.keys():
        if isinstance(old[key], dict) and isinstance(new[key], dict) and "kind" not in new[key]:
            result[key] = merged(old[key], new[key])
    return result


def resolved(name, run):
    """A run with its protocol, and with the warm start that the protocol gives to every method."""
    protocol = {**PROTOCOL, **run.get("protocol", {})}
    complete = {"set": {}, "given": {}, **run, "protocol": protocol}
    if "method" not in run or "encoder_of" in run:
        return complete
    if protocol["test_users"] != "included" and "neighbours" in complete["given"].values():
        # Why: the table of the DAG is counted on all training users; they would come back by it.
        raise wrong(
            f"runs.{name}.given",
            f"neighbours of all users, with test_users: {protocol['test_users']}. Leave it out: "
            "the method then counts those it may pre-train on",
        )
    start = run.get("init_from", protocol["warm_start"])
    # Why the part before --: a trial of the warm start itself must not start from it.
    if start in (name.partition("--")[0], "none"):
        return {**complete, "init_from": None}
    if start not in config["runs"]:
        raise wrong(
            "protocol.warm_start",
            f"run {name!r} would start from a run {start!r}, which is not there. Add it to runs, "
            "or set warm_start: none",
        )
    return {**complete, "init_from": start}


def trials():
    """Every trial of `tuning`: a run of its own, named <run>--<number>."""
    return {
        f"{name}--{number}": {"row": name, "trial": number, "settings": settings}
        for name, settings_of_row in config.get("tuning", {}).items()
        for number, settings in enumerate(settings_of_row, start=1)
    }


def has_switch(run, entry):
    """Whether a run has a switch of the ledger: one of its method, or of the protocol."""
    return entry["where"] == "protocol" or run.get("method") in entry.get("methods", ["adaptssr"])


def alternatives():
    """Every other choice of the ledger for the run of `sensitivity`, named <run>--<entry>-<number>."""
    base = config.get("sensitivity")
    if base is None:
        return {}
    protocol = resolved(base, config["runs"][base])["protocol"]
    found = {}
    for entry in LEDGER:
        if not has_switch(config["runs"][base], entry):
            continue
        is_protocol = entry["where"] == "protocol"
        current = protocol[entry["key"]] if is_protocol else entry["default"]
        for number, choice in enumerate(entry["choices"]):
            if choice["value"] != current:
                found[f"{base}--{entry['id']}-{number}"] = {
                    "entry": entry,
                    "value": choice["value"],
                    "against": current,
                }
    return found


def other_choice(base, entry, value, **_):
    """The run `base` with one switch of the ledger at another value."""
    run = dict(config["runs"][base])
    if entry["stage"] == "finetune":
        run.pop("init_from", None)
        run.setdefault("encoder_of", base)
    where = {"protocol": "protocol", "method": "set"}[entry["where"]]
    change = {entry["key"]: value} if "key" in entry else value
    return {**run, where: merged(run.get(where, {}), change)}


def fewer_labels():
    """Every row of `labels` with every share, named <run>--labels-<percent>; of 1, the run itself."""
    study = config.get("labels", {"rows": [], "shares": []})
    return {
        row if share == 1 else f"{row}--labels-{100 * share:g}": {"row": row, "share": share}
        for row in study["rows"]
        for share in sorted(study["shares"])
    }


def with_share(row, share):
    """The run `row`, its encoder fine-tuned with a share of the labels, of validation, too."""
    run = dict(config["runs"][row])
    if "method" in run:
        run.pop("init_from", None)
        run.setdefault("encoder_of", row)
    return {**run, "protocol": {**run.get("protocol", {}), "label_share": share}}


TRIALS = trials()
ALTERNATIVES = alternatives()
LABELLED = fewer_labels()
RUNS = {name: resolved(name, run) for name, run in config["runs"].items()}
for name, trial in TRIALS.items():
    run = config["runs"][trial["row"]]
    RUNS[name] = resolved(name, {**run, "set": merged(run.get("set", {}), trial["settings"])})
for name, other in ALTERNATIVES.items():
    RUNS[name] = resolved(name, other_choice(config["sensitivity"], **other))
for name, labelled in LABELLED.items():
    if name not in RUNS:
        RUNS[name] = resolved(name, with_share(**labelled))


def epochs_of(run):
    """Epochs that a run pre-trains: all runs alike."""
    return LAST_EPOCH


CANDIDATES = {"validation": FROM_EPOCHS, "first": [1], "last": [LAST_EPOCH]}
KEPT_EPOCHS = sorted(
    {LAST_EPOCH, *FROM_EPOCHS, *config["pretrain"].get("keep", [])}.union(
        *(CANDIDATES[run["protocol"]["checkpoint"]] for run in RUNS.values())
    )
)


wildcard_constraints:
    corpus="|".join(CORPORA),
    run="|".join(map(re.escape, RUNS)),
    by="interaction|user",
    seed="[0-9]+",
