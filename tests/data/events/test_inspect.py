"""`userbench inspect`: what is in a log, and a config that runs as it is."""

import zipfile

import pytest
import yaml
from config_check import check_config
from event_tables import write
from log_layouts import LAYOUTS

HEADER = "user,item,time\n"


@pytest.fixture
def inspect(tmp_path, monkeypatch, capsys):
    """The config that the command prints, in its two forms, and what it says."""
    from userbench.data.events.inspect.command import main

    monkeypatch.chdir(tmp_path)

    def inspect(*words):
        main([str(word) for word in words])
        printed = capsys.readouterr()
        return yaml.safe_load(printed.out), printed.err

    return inspect


@pytest.fixture
def refused(inspect):
    """The message of the command."""

    def refused(*words):
        with pytest.raises(SystemExit) as error:
            inspect(*words)
        return str(error.value)

    return refused


def log(users=40, events=8, time=1_400_000_000):
    """Users of some events each, at different times."""
    rows = [f"u{user},i{(user + k) % 9},{time + k}" for user in range(users) for k in range(events)]
    return HEADER + "\n".join(rows) + "\n"


WORDS = {
    "MovieLens-1M": ("ml-1m/ratings.dat", "--labels", "ml-1m/users.dat:age"),
    "A RecBole atomic file": ("recbole/shop.inter", "--labels", "recbole/shop.user:gender"),
    "Your own Parquet, with text ids": ("log/events.parquet", "--labels", "log/plans.csv:plan"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_config_of_each_layout_is_one_that_check_accepts(inspect, tmp_path, layout):
    """If wrong: the first thing a newcomer sees is an error in a config that she did not write."""
    LAYOUTS[layout](tmp_path, 60)
    config, said = inspect(*WORDS[layout])
    check_config(config)
    (corpus,) = config["corpora"].values()
    (table,) = corpus["events"].values()
    assert "60 users" in said
    assert corpus["hold_out"] == {"last": 3} and corpus["max_bad_rows"] == 0
    assert len(config["tasks"]) == 2 and "next_item" in config["tasks"]["next"]
    if layout == "MovieLens-1M":
        assert table["columns"] == ["user", "item", "rating", "time"]
        assert config["tasks"]["age"]["kind"] == "classification"
        assert config["tasks"]["age"]["labels"]["columns"][0] == "user"
    elif layout == "A RecBole atomic file":
        assert (table["user"], table["item"], table["time"]) == ("user_id", "item_id", "timestamp")
        assert config["tasks"]["gender"]["kind"] == "binary"
    else:
        assert (table["user"], table["item"]) == ("customer", "product")
        assert "time_unit" not in table


def test_what_it_counts_is_what_is_there(inspect, tmp_path):
    """If wrong: sizes and cuts are chosen for another log."""
    lines = ["a,1,10", "a,1,10", "a,2,11", "b,1,10", "b,2,11", "b,2,11", "b,1,12", "c,9,5"]
    write(tmp_path, {"x.csv": HEADER + "\n".join(lines) + "\n", "l.csv": "user,l\na,0\nb,1\nz,1\n"})
    config, said = inspect("x.csv", "--labels", "l.csv:l")
    assert "8 events of 3 users and 3 items" in said
    assert "mean 2.7, median 3, most 4" in said
    assert "37.5% of the events repeat an item of their user; 50.0% have the time" in said
    assert config["corpora"]["x"]["repeats"] == "consecutive"
    assert "hold_out" not in config["corpora"]["x"]  # two of three users have less than five events
    assert "1 rows are of users without events" in said  # the label of z
    assert config["corpora"]["x"]["max_bad_rows"] == 0  # a k-core leaves users out, so it is none
    assert list(config["tasks"]) == ["l"]


@pytest.mark.parametrize(
    "header, roles",
    [
        ("userId,movieId,rating,timestamp", ("userId", "movieId", "timestamp")),
        ("timestamp,visitorid,event,itemid,transactionid", ("visitorid", "itemid", "timestamp")),
        ("event_time,event_type,product_id,category_id,brand,price,user_id,user_session", None),
        ("t_dat,customer_id,article_id,price,sales_channel_id", None),
        ("reviewerID,asin,overall,unixReviewTime", ("reviewerID", "asin", "unixReviewTime")),
        ("Session ID,Item Name,When Date", ("Session ID", "Item Name", "When Date")),
    ],
)
def test_columns_of_known_logs_are_recognised(header, roles):
    """If wrong: whoever has one of the field's public logs must name its columns by hand."""
    from userbench.data.events.inspect.roles import guesses

    found = guesses(header.split(","))
    expected = {
        "event_time": ("user_id", "product_id", "event_time"),
        "t_dat": ("customer_id", "article_id", "t_dat"),
    }.get(header.split(",")[0], roles)
    assert tuple(found[role] for role in ("user", "item", "time")) == expected


def test_flags_override_guesses_and_say_what_could_not_be_guessed(inspect, refused, tmp_path):
    text = log().replace("user,item,time", "who,what,user")
    write(tmp_path, {"x.csv": text, "bare.csv": log().partition("\n")[2]})
    assert "could be guessed to be the item: who, what, user. Name it by --item" in refused("x.csv")
    config, said = inspect("x.csv", "--user", "who", "--item", "what", "--name", "My Shop")
    (table,) = config["corpora"]["my-shop"]["events"].values()
    assert (table["user"], table["item"]) == ("who", "what") and "time" not in table
    assert "the order of the file is that of the events; --time" in said
    assert "no column 'x'; there are: who, what, user" in refused("x.csv", "--user", "x")
    assert "has no header: u0, i0, 1400000000. Name its 3 columns: --columns" in refused("bare.csv")
    config, _ = inspect("bare.csv", "--columns", "user,item,time")
    check_config(config)
    assert config["corpora"]["bare"]["events"]["event"]["columns"] == ["user", "item", "time"]


def test_several_files_a_folder_a_zip_and_targets(inspect, refused, tmp_path):
    coupons = "customer\tcoupon\nu1\tc1\nu2\tc2\nzz\tc2\n"
    files = {"days/1.csv": log(), "days/2.csv": log(time=1_500_000_000), "coupons.tsv": coupons}
    orders = log(time=1_600_000_000).replace("item", "sku")
    write(tmp_path, files | {"orders.csv": orders})
    config, said = inspect("days/1.csv", "days/2.csv", "--targets", "coupons.tsv")
    check_config(config)
    (corpus,) = config["corpora"].values()
    assert corpus["events"]["event"]["files"] == ["days/1.csv", "days/2.csv"]
    assert config["tasks"]["coupons"]["targets"]["item"] == "coupon"
    assert "2 of 40 users have some of 2 targets" in said
    config, said = inspect("days", "orders.csv")
    check_config(config)
    (corpus,) = config["corpora"].values()
    assert corpus["events"].keys() == {"days", "orders"}
    assert "960 events of 40 users and 18 items" in said  # an item is a kind and an id
    with zipfile.ZipFile(tmp_path / "ml.zip", "w") as archive:
        archive.writestr("ml/log.csv", log())
    config, _ = inspect("ml.zip/ml/log.csv")
    (corpus,) = config["corpora"].values()
    assert corpus["raw"] == str(tmp_path / "ml.zip")
    assert "is a zip. Name a file inside it, such as ml.zip/ml/log.csv" in refused("ml.zip")


def test_bad_rows_are_named_and_allowed_for(inspect, tmp_path):
    write(tmp_path, {"x.csv": log() + "u1,,5\nu2\n"})
    config, said = inspect("x.csv")
    assert "x.csv:322: item is missing" in said
    assert config["corpora"]["x"]["max_bad_rows"] == 2


def test_what_makes_no_task_or_no_class_is_refused(refused, tmp_path):
    files = {"x.csv": log(events=2), "l.csv": "user,l\nu1,1\nu2,1\n"}
    write(tmp_path, files)
    assert "no task: 0% of the users have 5 events or more" in refused("x.csv")
    assert "l has 1 different values" in refused("x.csv", "--labels", "l.csv:l")
    assert "no column 'm'; there are: user, l" in refused("x.csv", "--labels", "l.csv:m")
    assert "y.csv: does not exist" in refused("y.csv")


def test_a_large_log_gets_larger_sizes():
    """If wrong: a small log takes hours, or a large one is learnt by a toy."""
    import numpy as np

    from userbench.data.events.inspect.choices import sizes
    from userbench.data.events.inspect.counts import Counts

    def of(users, items):
        lengths, of_item = np.full(users, 30), np.full(items, 9)
        return sizes(
            Counts(30 * users, users, items, lengths, of_item, 0.0, 0.0, None, None, None, [])
        )

    small, large = of(3000, 2000), of(100_000, 50_000)
    assert small["dim"].value < large["dim"].value
    assert small["epochs"].value > large["epochs"].value
    assert small["negatives"].value is None and large["negatives"].value == 1024
