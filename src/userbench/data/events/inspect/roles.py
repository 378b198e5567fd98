"""Which column is the user, the item and the time: guessed from the names of columns and files."""

import re

from userbench.data.events.layout import without_type

# Best first; compared without case, blanks and signs, and without RecBole's types.
NAMES = {
    "user": [
        *("user", "userid", "uid", "useridx", "visitorid", "visitor", "customer", "customerid"),
        *("client", "clientid", "member", "memberid", "account", "accountid", "person", "personid"),
        *("reviewerid", "buyerid", "msno", "userpseudoid", "deviceid", "sessionid", "session"),
    ],
    "item": [
        *("item", "itemid", "iid", "itemidx", "product", "productid", "movie", "movieid", "sku"),
        *("skuid", "asin", "parentasin", "article", "articleid", "newsid", "contentid", "song"),
        *("songid", "track", "trackid", "artistid", "book", "bookid", "isbn", "businessid", "poi"),
        *("poiid", "venueid", "locationid", "video", "videoid", "gameid", "appid", "adid"),
        *("goodsid", "couponid", "coupon", "target", "targetid", "category", "categoryid"),
    ],
    "time": [
        *("timestamp", "time", "ts", "datetime", "eventtime", "eventtimestamp", "createdat"),
        *("unixreviewtime", "occurredat", "at", "utctimestamp", "createtime", "date", "tdat"),
        *("day", "eventdate", "orderdate"),
    ],
}
PARTS_OF_NAMES = {
    "user": ("user", "customer", "visitor", "client"),
    "item": ("item", "product", "movie", "article", "song", "track", "video"),
    "time": ("timestamp", "time", "date"),
}
# Files of MovieLens, which have no header: the names of their columns by file and separator.
MOVIELENS = {
    ("ratings.dat", "::"): ["user", "item", "rating", "time"],
    ("users.dat", "::"): ["user", "gender", "age", "occupation", "zip"],
    ("u.data", "\t"): ["user", "item", "rating", "time"],
    ("u.user", "|"): ["user", "age", "gender", "occupation", "zip"],
}
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
YEARS = (315_532_800, 4_102_444_800)  # 1980 to 2100, in seconds


def plain(name: str) -> str:
    """A name in the form in which names are compared."""
    return re.sub(r"[^a-z0-9]", "", without_type(name).lower())


def guess(role: str, columns: list[str]) -> str | None:
    """The column that has a role, by its name; None where no name says it."""
    by_name = {plain(column): column for column in reversed(columns)}
    for name in NAMES[role]:
        if name in by_name:
            return by_name[name]
    for part in PARTS_OF_NAMES[role]:
        for column in columns:
            if part in plain(column):
                return column
    return None


def guesses(columns: list[str]) -> dict[str, str]:
    """The columns that have the roles of an event; none has two."""
    found: dict[str, str] = {}
    for role in NAMES:
        column = guess(role, [column for column in columns if column not in found.values()])
        if column is not None:
            found[role] = column
    return found


def unit_of(first: float | int) -> str | None:
    """The unit in which a number is a time between 1980 and 2100, if it is one in any."""
    for unit, in_a_second in UNITS.items():
        if YEARS[0] <= first / in_a_second < YEARS[1]:
            return unit
    return None
