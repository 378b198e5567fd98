"""Interaction logs as people have them: the files that docs/data.md names, in these layouts."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def events(users: int, seed: int = 0) -> list[tuple[int, int, int, int]]:
    """User, item, rating and time; each user keeps to a fifth of a hundred items, by her group."""
    draw = np.random.default_rng(seed)
    found = []
    for user in range(1, users + 1):
        own = 20 * (user % 5) + draw.integers(0, 20, draw.integers(8, 30))
        times = 978_300_000 + np.sort(draw.integers(0, 10_000_000, len(own)))
        ratings = draw.integers(1, 6, len(own))
        found += list(
            zip([user] * len(own), own.tolist(), ratings.tolist(), times.tolist(), strict=True)
        )
    return found


def movielens(folder: Path, users: int) -> None:
    """ml-1m/: ratings.dat, users.dat and movies.dat, `::` between columns, no header."""
    folder = folder / "ml-1m"
    folder.mkdir()
    lines = [f"{user}::{item + 1}::{rating}::{time}" for user, item, rating, time in events(users)]
    (folder / "ratings.dat").write_text("\n".join(lines) + "\n")
    ages = (1, 18, 25, 35, 45)
    lines = [
        f"{user}::{'FM'[user % 2]}::{ages[user % 5]}::4::48067" for user in range(1, users + 1)
    ]
    (folder / "users.dat").write_text("\n".join(lines) + "\n")
    movie = "1::Misérables, Les (1995)::Drama\n"
    (folder / "movies.dat").write_bytes(movie.encode("latin-1"))


def recbole(folder: Path, users: int) -> None:
    """recbole/: shop.inter and shop.user, tabs, names with types in the header."""
    folder = folder / "recbole"
    folder.mkdir()
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"{user:03}\tp{item}\t{time}.0" for user, item, _, time in events(users)]
    (folder / "shop.inter").write_text("\n".join(lines) + "\n")
    lines = ["user_id:token\tgender:token"]
    lines += [f"{user:03}\t{'FM'[user % 5 < 2]}" for user in range(1, users + 1)]
    (folder / "shop.user").write_text("\n".join(lines) + "\n")


def own_parquet(folder: Path, users: int) -> None:
    """log/: events.parquet with text ids and timestamps, plans.csv with a header."""
    folder = folder / "log"
    folder.mkdir()
    own, items, _, times = zip(*events(users), strict=True)
    table = pa.table(
        {
            "customer": [f"c-{user}" for user in own],
            "product": [f"sku/{item}" for item in items],
            "created_at": pa.array(times, pa.timestamp("s")),
        }
    )
    pq.write_table(table, folder / "events.parquet")
    with (folder / "plans.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["customer", "plan"])
        plans = ("free", "basic", "pro")
        rows.writerows([f"c-{user}", plans[user % 5 % 3]] for user in range(1, users + 1))


LAYOUTS = {
    "MovieLens-1M": movielens,
    "A RecBole atomic file": recbole,
    "Your own Parquet, with text ids": own_parquet,
}
"""What writes the files of each section of docs/data.md."""
