"""Tables of events for tests: how they are written and read."""

import pyarrow as pa
import pyarrow.parquet as pq

HEADER = "user,item,time\n"
LOG = HEADER + "u1,a,5\nu2,b,6\nu1,007,6\n"


def write(folder, contents):
    """Write files by their names: texts, bytes or Parquet of a table."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def blocks(raw, files, bad=None, **settings):
    """The blocks of a table with these settings."""
    from userbench.data.events.settings import Table
    from userbench.data.events.tables import read_table
    from userbench.data.format import BadRows

    settings = {"user": "user", "item": "item", "time": "time"} | settings
    return list(read_table(raw, Table(files=files, **settings), bad or BadRows()))


def rows(found):
    """The rows of blocks as tuples."""
    columns = [[column.to_pylist() for column in block.columns.values()] for block in found]
    return [row for block in columns for row in zip(*block, strict=True)]
