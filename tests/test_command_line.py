"""What all commands read in the same way."""

from pathlib import Path

from userbench import command_line


def test_the_home_folder_is_known_in_every_path(monkeypatch):
    """If wrong: `--raw=~/x`, which no shell expands, is "not there", or a folder `~` is made."""
    monkeypatch.setenv("HOME", "/home/me")
    parser = command_line.parser("x", "x")
    part = parser.add_subparsers(dest="part").add_parser("part")
    for one in (parser, part):
        one.add_argument("--raw", type=Path)
        one.add_argument("--given", type=Path, nargs="*")
    assert parser.parse_args(["--raw=~/x"]).raw == Path("/home/me/x")
    asked = parser.parse_args(["part", "--raw=~", "--given", "~/a", "b~", "~nobody-here/c"])
    assert asked.raw == Path("/home/me")
    assert asked.given == [Path("/home/me/a"), Path("b~"), Path("~nobody-here/c")]
