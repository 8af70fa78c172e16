import json
import tomllib

import pytest

from fluxport.testing import FormatCase, FormatContract, ReadBack


def read(data: bytes) -> ReadBack:
    text = data.decode()
    names = json.loads(f"[{text.splitlines()[0].removeprefix('# ')}]")
    return ReadBack(names, len(tomllib.loads(text).get("rows", [])))


class TestToml(FormatContract):
    @pytest.fixture
    def subject(self) -> FormatCase:
        return FormatCase("toml", read)
