import pytest


@pytest.fixture
def command():
    from userbench.report.drawing import command

    return command
